"""The kinesis-sandbox program as a child process, its knobs and its counters."""

import json
import os
import subprocess
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

REGION = "eu-central-1"
START_SECONDS = 20


def client_of(endpoint, key="local", secret="local"):
    """A boto3 client with these keys."""
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        # boto3 requires a partition key, but streams with AUTO record distribution don't.
        config=Config(
            retries={"mode": "standard", "max_attempts": 3}, max_pool_connections=32, parameter_validation=False
        ),
    )


class Sandbox:
    """A running sandbox. Ends with `stop()`, or as a context manager."""

    def __init__(self, program, *arguments, log=None):
        if not os.access(program, os.X_OK):
            raise FileNotFoundError(f"{program} is not a program: build kinesis-sandbox, and set KINESIS_SANDBOX to it")
        self._log = open(log, "ab") if log else None
        self._process = subprocess.Popen(
            [program, "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        line = self._process.stdout.readline()
        if "listening on " not in line:
            self.stop()
            raise RuntimeError(f"{program} did not start; its first line was {line!r}")
        self.endpoint = line.split("listening on ", 1)[1].strip()
        self.tls_endpoint = None
        if "--tls-port" in arguments:
            self.tls_endpoint = self._process.stdout.readline().split("listening on ", 1)[1].strip()
        self.client = self.client_with()

    def client_with(self, key="local", secret="local"):
        """A boto3 client with these keys."""
        return client_of(self.endpoint, key, secret)

    @property
    def pid(self):
        return self._process.pid

    def stats(self):
        """Connections, calls by operation, and counters by stream and shard."""
        return self._request("GET", "stats")

    def knobs(self, **update):
        """Sets knobs, and returns the values of all knobs."""
        return self._request("POST", "knobs", update)

    def calls(self, operation):
        """Number of calls of an operation so far, over all streams."""
        return self.stats()["operations"].get(operation, {}).get("calls", 0)

    def probes(self, stream):
        """Number of GetRecords calls to a stream so far."""
        return sum(shard["get_records"] for shard in self.stats()["streams"].get(stream, {}).values())

    def events(self, stream):
        """Number of events pushed to a stream's subscriptions so far, including empty ones."""
        return sum(shard["events_pushed"] for shard in self.stats()["streams"].get(stream, {}).values())

    def subscriptions(self, stream):
        """Number of open subscriptions, by shard."""
        shards = self.stats()["streams"].get(stream, {})
        return {shard: s["subscriptions"] - s["subscriptions_ended"] for shard, s in shards.items()}

    def _request(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.endpoint}/sandbox/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{method} {path}: {error.read().decode()}") from error

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=START_SECONDS)
        self._process.stdout.close()
        if self._log:
            self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
