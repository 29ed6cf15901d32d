"""Spark applications in separate processes, which tests can kill as a machine's failure would."""

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
    """A program that is killed together with all processes that it started."""

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
                # A separate process group, so that driver, executors and Python are killed together.
                start_new_session=True,
            )

    @property
    def pid(self):
        """The ID of the driver's process, which leads the process group."""
        return self._process.pid

    def running(self):
        return self._process.poll() is None

    def kill(self):
        """Kills all processes of the group with SIGKILL."""
        if self.running():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def signal(self, name):
        """Sends a signal to the driver; SIGINT to the whole group, as Ctrl-C in a terminal does."""
        number = signal.Signals[name]
        if number == signal.SIGINT:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def wait(self, seconds=120):
        """Waits for the program's end, and returns its exit code."""
        return self._process.wait(timeout=seconds)

    def await_condition(self, condition, what, seconds=90, interval=0.05):
        """Waits for a condition while the job runs. Fails with the job's log if the job ends early."""
        def met_or_ended():
            return condition() or not self.running()

        await_condition(met_or_ended, lambda: f"{what() if callable(what) else what}; log:\n{self.tail()}", seconds, interval)
        if not condition():
            raise AssertionError(f"the job ended with {self._process.returncode}:\n{self.tail()}")

    def await_progress(self, condition, measure, what, seconds=150, interval=0.2):
        """Like await_condition, but waits as long as measure() changes at least every `seconds` seconds."""
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
    """The spark-submit command of this Python's Spark."""
    return [str(Path(sys.executable).with_name("spark-submit")), *arguments]


class Job(Program):
    """A job of tests/jobs, submitted with spark-submit, as users submit theirs."""

    def __init__(self, name, arguments, log, master="local[2]", conf=(), jars=()):
        conf = ("spark.ui.enabled=false", "spark.sql.shuffle.partitions=2", *conf)
        command = spark_submit(
            "--master", master,
            "--jars", ",".join([environment.jar(), *map(str, jars)]),
            *[part for setting in conf for part in ("--conf", setting)],
            str(JOBS / f"{name}.py"), json.dumps(arguments),
        )  # fmt: skip
        super().__init__(command, log)
