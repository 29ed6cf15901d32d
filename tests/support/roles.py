"""STS on this machine: moto, for this service only."""

import subprocess
import sys
import urllib.request

from local_kinesis import await_condition


class RoleService:
    """moto_server on a free port."""

    def __init__(self, port, log):
        self.endpoint = f"http://127.0.0.1:{port}"
        with open(log, "ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        self.log = log
        await_condition(self._answers, f"moto on {self.endpoint}, see {log}", seconds=30)

    def _answers(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"moto ended with {self._process.returncode}, see {self.log}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)
