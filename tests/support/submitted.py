"""The typical job in separate processes."""

import json
import sys

from local_kinesis import REGION

from . import environment
from .countries import copied, country_events, expected
from .processes import JOBS, Job, Program, spark_submit


def copies_all(sandbox, source, job):
    """Asserts that the job copies every event of two rounds once from `source`, a stream of two shards."""
    job.await_condition(lambda: sandbox.probes(source.name) >= 2, "the query's start", seconds=180)
    for first in range(0, 200, 100):
        source.put(country_events(first, 100))
        job.await_copied(first + 100)
    job.stop()
    assert copied(job.sink.read()) == expected(0, 200)


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


class InstalledJob(_Stoppable, Program):
    """The typical job in a Python with the wheel, which is in the folder `site`; with `connect`, by Spark Connect."""

    def __init__(self, sandbox, source, sink, checkpoint, folder, site, connect):
        arguments = self._arguments(sandbox, source, sink, checkpoint, folder, connect=connect)
        command = [sys.executable, "-W", "error::RuntimeWarning", str(JOBS / "installed.py"), json.dumps(arguments)]
        path = [str(site), *([environment.connect_packages()] if connect else [])]
        super().__init__(command, folder / "job.log", path=path)


# Only the command line's repositories, without Maven Central and this machine's local ones.
NO_OTHER_REPOSITORY = """
<ivysettings><settings defaultResolver="none"/><resolvers><chain name="none"/></resolvers></ivysettings>
"""


class PackagedJob(_Stoppable, Program):
    """The typical job with the connector from the Maven repository."""

    def __init__(self, sandbox, source, sink, checkpoint, folder):
        settings = folder / "ivysettings.xml"
        settings.write_text(NO_OTHER_REPOSITORY)
        arguments = self._arguments(sandbox, source, sink, checkpoint, folder)
        command = spark_submit(
            "--master", "local[2]",
            "--packages", environment.coordinates(),
            "--repositories", environment.maven_repository().as_uri(),
            "--conf", f"spark.jars.ivySettings={settings}",
            # A fresh cache, without leftovers of another run.
            "--conf", f"spark.jars.ivy={folder / 'ivy'}",
            "--conf", "spark.ui.enabled=false",
            "--conf", "spark.sql.shuffle.partitions=2",
            str(JOBS / "typical.py"), json.dumps(arguments),
        )  # fmt: skip
        super().__init__(command, folder / "job.log")
