"""A Kinesis on this machine for tests, demo and benchmarks: the sandbox's process, and streams in it."""

from .sandbox import REGION, Sandbox
from .streams import Stream
from .waiting import await_condition

__all__ = ["REGION", "Sandbox", "Stream", "await_condition"]
