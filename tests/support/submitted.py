"""The typical job in processes of its own."""

import json
import sys

from local_kinesis import REGION

from . import environment
from .processes import JOBS, Job, Program


class _Stoppable:
    """A program that copies events into `sink`, and ends when its stop file appears."""

    def _arguments(self, sandbox, source, sink, checkpoint, folder, **more):
        self.sink = sink
        self._stop = folder / "stop"
        return {
            "source": source.name,
            "sink": sink.name,
            "region": REGION,
            "endpoint": sandbox.endpoint,
            "checkpoint": str(checkpoint),
            "stop": str(self._stop),
            **more,
        }

    def await_copied(self, count):
        self.await_condition(lambda: len(self.sink.read()) >= count, f"{count} records", seconds=180, interval=0.2)

    def stop(self):
        self._stop.touch()
        assert self.wait() == 0, self.tail()


class TypicalJob(_Stoppable, Job):
    """The typical job on two executors."""

    def __init__(self, sandbox, source, sink, checkpoint, folder, consumer=None, conf=(), python=False):
        arguments = self._arguments(sandbox, source, sink, checkpoint, folder, consumer=consumer, python=python)
        super().__init__("typical", arguments, folder / "job.log", master="local-cluster[2,1,1024]", conf=conf)


class ConnectedJob(_Stoppable, Program):
    """The typical job by Spark Connect."""

    def __init__(self, sandbox, source, sink, checkpoint, folder):
        arguments = self._arguments(sandbox, source, sink, checkpoint, folder)
        command = [sys.executable, str(JOBS / "connected.py"), json.dumps(arguments)]
        super().__init__(command, folder / "job.log", path=[environment.connect_packages()])
