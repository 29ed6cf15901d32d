"""kinesis-local (npm), an independent implementation of Kinesis, run with node as a child process."""

import os
import socket
import subprocess
from pathlib import Path

from .sandbox import START_SECONDS, client_of
from .waiting import await_condition

# Settings for how long a stream is CREATING, UPDATING or DELETING. The default of 500 ms would dominate a test's time.
TRANSITIONS = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT")
TRANSITION = "50ms"


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class KinesisLocal:
    """A running kinesis-local. `package` is the npm package's folder. Ends with `stop()`, or as a context manager."""

    def __init__(self, package, log):
        package, port = Path(package), free_port()
        main = package / "main.js"
        if not main.is_file():
            raise FileNotFoundError(f"{main} is not there: run scripts/test, which installs kinesis-local")
        environment = {
            **os.environ,
            **{f"{transition}_DURATION": TRANSITION for transition in TRANSITIONS},
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(free_port()),
            "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
            "SHARD_LIMIT": "1000",
        }
        loopback = Path(__file__).resolve().parents[1] / "loopback.js"
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                ["node", "--require", str(loopback), str(main)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.endpoint = f"http://127.0.0.1:{port}"
        try:
            await_condition(lambda: self._answers(port), f"kinesis-local on port {port}; its log is {log}")
        except BaseException:
            self.stop()
            raise
        self.client = client_of(self.endpoint)

    def _answers(self, port):
        if self._process.poll() is not None:
            raise RuntimeError(f"kinesis-local ended with {self._process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self):
        if self._process.poll() is None:
            # It has no state to save, and a graceful end would wait for open connections.
            self._process.kill()
            self._process.wait(timeout=START_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
