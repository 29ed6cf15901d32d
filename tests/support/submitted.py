"""The typical job, submitted to a cluster of processes."""

from local_kinesis import REGION

from .processes import Job


class TypicalJob(Job):
    """The typical job on two executors, which its stop file ends."""

    def __init__(self, sandbox, source, sink, checkpoint, folder, consumer=None, conf=(), python=False):
        self.sink = sink
        self._stop = folder / "stop"
        arguments = {
            "source": source.name,
            "sink": sink.name,
            "region": REGION,
            "endpoint": sandbox.endpoint,
            "checkpoint": str(checkpoint),
            "stop": str(self._stop),
            "consumer": consumer,
            "python": python,
        }
        super().__init__("typical", arguments, folder / "job.log", master="local-cluster[2,1,1024]", conf=conf)

    def await_copied(self, count):
        self.await_condition(lambda: len(self.sink.read()) >= count, f"{count} records", interval=0.2)

    def stop(self):
        self._stop.touch()
        assert self.wait() == 0, self.tail()
