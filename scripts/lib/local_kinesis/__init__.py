"""A Kinesis on this machine for tests, demo and benchmarks: the sandbox's process, or kinesis-local's, and streams in it.
Beside it, an STS."""

from .kinesis_local import KinesisLocal
from .sandbox import REGION, Sandbox
from .streams import Stream
from .sts import Sts
from .waiting import await_condition

__all__ = ["REGION", "KinesisLocal", "Sandbox", "Stream", "Sts", "await_condition"]
