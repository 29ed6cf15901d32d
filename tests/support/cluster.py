"""A standalone Spark cluster in which each worker has its own host.

local-cluster has one host for all workers, and Spark never runs a speculative attempt on the first attempt's host.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from local_kinesis import await_condition


class Cluster:
    """A master, and a worker on each of 127.0.0.1, 127.0.0.2 and so on."""

    def __init__(self, folder, workers=2, cores=2):
        self._folder = Path(folder)
        self._folder.mkdir()
        self._processes = []
        self.master = None
        with ExitStack() as on_failure:
            on_failure.callback(self.stop)
            log = self._start("master", "org.apache.spark.deploy.master.Master", "127.0.0.1")
            self.master = self._await_log(log, r"Starting Spark master at (spark://\S+)").group(1)
            for number in range(1, workers + 1):
                self._start(
                    f"worker-{number}", "org.apache.spark.deploy.worker.Worker", f"127.0.0.{number}",
                    "--cores", str(cores), "--memory", "1g", "--work-dir", str(self._folder / f"work-{number}"), self.master,
                )  # fmt: skip
                self._await_log(log, rf"(?s)(Registering worker.*){{{number}}}")
            on_failure.pop_all()

    def _start(self, name, main_class, host, *arguments):
        log = self._folder / f"{name}.log"
        with open(log, "ab") as log_file:
            process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("spark-class")), main_class,
                    "--host", host, "--port", "0", "--webui-port", "0", *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SPARK_LOCAL_IP": host, "SPARK_DAEMON_MEMORY": "256m"},
                # A process group per worker, so that its executors end with it.
                start_new_session=True,
            )  # fmt: skip
        self._processes.append((process, log))
        return log

    def _await_log(self, log, pattern):
        def found():
            for process, log_of_it in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"part of the cluster ended:\n{log_of_it.read_text()[-4000:]}")
            return re.search(pattern, log.read_text())

        return await_condition(found, f"{pattern} in {log}", seconds=90)

    def stop(self):
        for process, _ in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
