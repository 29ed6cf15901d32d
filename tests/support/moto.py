"""STS, S3 and DynamoDB on this machine: moto."""

import subprocess
import sys
import urllib.request

import boto3
from local_kinesis import REGION, await_condition

from . import environment

PROGRAM = environment.ROOT / "scripts/lib/moto_server.py"


class Moto:
    """moto's server on a free port. Ends with `stop()`, or as a context manager."""

    def __init__(self, port, log):
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = log
        with open(log, "ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "-H", "127.0.0.1", "-p", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        await_condition(self._answers, f"moto on {self.endpoint}, see {log}", seconds=300)

    def _answers(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"moto ended with {self._process.returncode}, see {self.log}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def client(self, service):
        """A boto3 client of one of its services."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
