"""Spark applications in processes of their own, which can be killed as a machine's failure would kill them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from local_kinesis import await_condition

from . import environment

JOBS = Path(__file__).resolve().parents[1] / "jobs"


class Program:
    """A program that is killed with all that it started."""

    def __init__(self, command, log, path=(), cwd=None):
        self.log = Path(log)
        tests = JOBS.parent
        path = os.pathsep.join([str(tests), str(tests.parent / "scripts/lib"), *path, os.environ.get("PYTHONPATH", "")])
        with open(self.log, "ab") as log_file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable},
                cwd=cwd,
                # A process group of its own: driver, executors and Python are killed together.
                start_new_session=True,
            )

    @property
    def pid(self):
        """The driver's process, which leads the group of all its processes."""
        return self._process.pid

    def running(self):
        return self._process.poll() is None

    def kill(self):
        """kill -9, all of it."""
        if self.running():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def signal(self, name):
        """Sends the driver a signal. Ctrl-C goes to all processes of a terminal's job."""
        number = signal.Signals[name]
        if number == signal.SIGINT:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def wait(self, seconds=120):
        """Waits for its end; answers the exit code."""
        return self._process.wait(timeout=seconds)

    def await_condition(self, condition, what, seconds=90, interval=0.05):
        """Waits for it while the job runs; a job that ended early is a failure that shows its log."""
        def met_or_ended():
            return condition() or not self.running()

        await_condition(met_or_ended, lambda: f"{what() if callable(what) else what}; log:\n{self.tail()}", seconds, interval)
        if not condition():
            raise AssertionError(f"the job ended with {self._process.returncode}:\n{self.tail()}")

    def await_progress(self, condition, measure, what, seconds=150, interval=0.2):
        """As await_condition, for as long as measure() changes at least once in so many seconds."""
        seen, deadline = None, time.monotonic() + seconds

        def met_or_over():
            nonlocal seen, deadline
            now = measure()
            if now != seen:
                seen, deadline = now, time.monotonic() + seconds
            return condition() or time.monotonic() > deadline

        self.await_condition(met_or_over, what, 20 * 60, interval)
        assert condition(), f"nothing new for {seconds} s: {what() if callable(what) else what}; log:\n{self.tail()}"

    def tail(self, size=6000):
        return self.log.read_text(errors="replace")[-size:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def spark_submit(*arguments):
    """The command that submits with the Spark of this Python."""
    return [str(Path(sys.executable).with_name("spark-submit")), *arguments]


class Job(Program):
    """A job of tests/jobs, submitted with spark-submit, as users do."""

    def __init__(self, name, arguments, log, master="local[2]", conf=(), jars=()):
        conf = ("spark.ui.enabled=false", "spark.sql.shuffle.partitions=2", *conf)
        command = spark_submit(
            "--master", master,
            "--jars", ",".join([environment.jar(), *map(str, jars)]),
            *[part for setting in conf for part in ("--conf", setting)],
            str(JOBS / f"{name}.py"), json.dumps(arguments),
        )  # fmt: skip
        super().__init__(command, log)
