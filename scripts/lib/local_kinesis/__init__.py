"""A local Kinesis for tests, demo and benchmarks: the process of the sandbox or of kinesis-local, and its streams. Also
a local STS."""

from .kinesis_local import KinesisLocal
from .sandbox import REGION, Sandbox
from .streams import Stream
from .sts import Sts
from .waiting import PATIENCE, await_condition

__all__ = ["PATIENCE", "REGION", "KinesisLocal", "Sandbox", "Stream", "Sts", "await_condition"]
