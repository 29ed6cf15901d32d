"""A proxy that requires a password: tinyproxy."""

import socket
import subprocess

from local_kinesis import await_condition

OPTIONS = {"proxyUsername": "marked-proxy-user", "proxyPassword": "marked-proxy-password"}


class Proxy:
    """tinyproxy on a free port. Ends with `stop()`, or as a context manager."""

    def __init__(self, folder, password=OPTIONS["proxyPassword"]):
        self._login = {**OPTIONS, "proxyPassword": password}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "log"
        login = " ".join(self._login.values())
        settings = folder / "settings"
        settings.write_text(
            f'Port {self.port}\nListen 127.0.0.1\nLogLevel Connect\nLogFile "{self.log}"\nBasicAuth {login}\n'
        )
        self._process = subprocess.Popen(["tinyproxy", "-d", "-c", str(settings)], stdout=subprocess.DEVNULL)
        await_condition(self._answers, f"tinyproxy on port {self.port}, see {self.log}")

    def _answers(self):
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def options(self):
        """The connector's options, without their prefix."""
        return {"proxyAddress": "127.0.0.1", "proxyPort": str(self.port), **self._login}

    def requests(self, endpoint):
        """Number of requests to this address."""
        return self.log.read_text().count(f"POST {endpoint}")

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
