"""An HDFS on this machine: Hadoop's own name node and data node, in one process."""

import os
import subprocess

from local_kinesis import await_condition

from . import environment

PROGRAM = environment.ROOT / "scripts/lib/MiniHdfs.java"
LIBRARIES = environment.ROOT / ".tools/hdfs/lib"


class Hdfs:
    """An HDFS that stores its files in `folder`. Ends with `stop()`, or as a context manager."""

    def __init__(self, folder):
        if not LIBRARIES.is_dir():
            raise FileNotFoundError(f"{LIBRARIES} is missing: run scripts/setup")
        folder.mkdir()
        self._log = folder / "log"
        with open(self._log, "wb") as log_file:
            self._process = subprocess.Popen(
                ["java", "-Xmx512m", "-cp", f"{LIBRARIES}/*", str(PROGRAM), str(folder / "data")],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                # The options that tests set for Spark's JVM are not for this one.
                env={name: value for name, value in os.environ.items() if name != "JAVA_TOOL_OPTIONS"},
            )
        self.endpoint = await_condition(self._find_endpoint, f"an HDFS, see {self._log}", seconds=300)

    def _find_endpoint(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"HDFS ended with {self._process.returncode}, see {self._log}")
        lines = [line for line in self._log.read_text().split("\n")[:-1] if line.startswith("listening on ")]
        return lines[0].removeprefix("listening on ") if lines else None

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
