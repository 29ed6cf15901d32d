"""Cost of a stream with many shards, most of them idle: latency, CPU and requests."""

import os
import random
import threading
import time

from local_kinesis import Sandbox, Stream, await_condition

from . import Requests, arguments, cpu_seconds, jvm_pid, scratch, session, source
from .latency import milliseconds
from .table import Table

SHARDS, SECONDS = 2_000, 30
RATES = (1, 100, 1_000)


class Puts:
    """Context manager that puts `rate` records per second with random keys, in at most ten puts per second."""

    def __init__(self, stream, rate):
        self.rate, self.count = rate, 0
        self._stream, self._stop = stream, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        pause = max(0.1, 1 / self.rate)
        while not self._stop.wait(pause):
            at_once = round(self.rate * pause)
            self._stream.put([(f"{random.random()}", f"{time.monotonic_ns()}".encode()) for _ in range(at_once)])
            self.count += at_once

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def measured(spark, sandbox, stream, arrived, rate, seconds):
    """The cells of a table row: the latency of records at this rate, and the cost of the query and its requests."""
    with Puts(stream, rate) as puts:
        # Waits until the effects of the first records are over.
        await_condition(lambda: arrived and puts.count >= 5 * rate, "the first records", 120)
        arrived.clear()
        pid, requests = jvm_pid(spark), Requests(sandbox)
        cpu, began = cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        cpu, sent = cpu_seconds(pid) - cpu, requests.counts().get("GetRecords", 0)
        took = list(arrived)
    return [*milliseconds(took), f"{cpu / passed:.2f}", f"{sent / passed:.0f}"]


def main():
    asked = arguments("shards", shards=SHARDS, seconds=SECONDS)
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        stream = Stream.create(sandbox.client, "many-shards", asked.shards)
        arrived = []

        def sink(frame, _):
            rows = frame.select("data").collect()
            now = time.monotonic_ns()
            arrived.extend((now - int(bytes(row.data))) / 1e9 for row in rows)

        query = source(spark, sandbox, stream, "LATEST").writeStream.foreachBatch(sink)
        query = query.option("checkpointLocation", f"{work}/query").start()
        started = lambda: sandbox.probes(stream.name) >= asked.shards or not query.isActive  # noqa: E731
        await_condition(started, "the query's start", 300)
        table = Table(
            f"{asked.shards} shards, records with random keys, by GetRecords, {asked.seconds} s each; milliseconds from put to row",
            "records a second", "median", "99th percentile", "longest", "cores", "GetRecords a second",
        )  # fmt: skip
        for rate in RATES:
            table.row(f"{rate}", *measured(spark, sandbox, stream, arrived, rate, asked.seconds))
        query.stop()
        if query.exception():
            raise query.exception()
        spark.stop()


if __name__ == "__main__":
    main()
