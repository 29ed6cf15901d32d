"""Cost of many shards for one process that reads them continuously: memory, connections, threads and requests."""

import random
import threading
import time

from local_kinesis import Stream, await_condition

from . import (
    CONSUMER_TYPES,
    Requests,
    arguments,
    heap_megabytes,
    jvm_pid,
    resident_megabytes,
    scratch,
    session,
    source,
    threads,
    tls_sandbox,
)

SHARDS, MINUTES = 200, 3
# The trickle: records per put, and the pause between puts.
AT_ONCE, PAUSE_SECONDS = 20, 1


class Trickle:
    """Context manager that puts some records into random shards."""

    def __init__(self, stream):
        self._stream, self._over = stream, threading.Event()
        self._thread = threading.Thread(target=self._put, daemon=True)
        self.count = 0

    def _put(self):
        while not self._over.wait(PAUSE_SECONDS):
            self._stream.put([(f"{random.random()}", random.randbytes(200)) for _ in range(AT_ONCE)])
            self.count += AT_ONCE

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


class Process:
    """The JVM's resources, and their growth since the start."""

    def __init__(self, spark, sandbox):
        self._spark, self._sandbox, self._pid = spark, sandbox, jvm_pid(spark)
        self._first = None

    def show(self, what, more=""):
        heap, resident = heap_megabytes(self._spark), resident_megabytes(self._pid)
        self._first = self._first or resident
        count, ours = threads(self._pid)
        each = (resident - self._first) * 1000 / SHARDS
        print(
            f"{what:<40} resident {resident:6.0f} MB, {each:6.0f} kB more a shard   heap {heap:5.0f} MB"
            f"   {self._sandbox.stats()['connections_open']:4d} connections   {count:4d} threads, {ours} of the connector   {more}",
            flush=True,
        )


def read(spark, sandbox, consumer, minutes, checkpoint):
    stream = Stream.create(sandbox.client, f"residents-{consumer}", SHARDS)
    process = Process(spark, sandbox)
    process.show(f"{consumer}: before the query")
    rows = []

    def sink(frame, _):
        rows.append(frame.count())

    query = source(spark, sandbox, stream, "TRIM_HORIZON", consumer).writeStream.foreachBatch(sink)
    stream.put([(f"key-{n}", b"first") for n in range(5 * SHARDS)])
    query = query.option("checkpointLocation", checkpoint).start()
    await_condition(lambda: sum(rows) >= 5 * SHARDS or not query.isActive, "the first records", 300)
    process.show("warm")
    with Trickle(stream) as trickle:
        for minute in range(minutes):
            requests, batches = Requests(sandbox), len(rows)
            time.sleep(60)
            a_shard = sum(requests.counts().values()) / SHARDS
            process.show(f"minute {minute + 1}", f"{len(rows) - batches} batches, {a_shard:.1f} requests a shard: {requests}")
    await_condition(lambda: sum(rows) >= 5 * SHARDS + trickle.count or not query.isActive, "the last records", 300)
    query.stop()
    if query.exception():
        raise query.exception()
    stream.delete()


def main():
    asked = arguments("residents", minutes=MINUTES)
    with scratch() as work, tls_sandbox(work) as sandbox:
        spark = session()
        for consumer in CONSUMER_TYPES:
            read(spark, sandbox, consumer, asked.minutes, f"{work}/{consumer}")
        spark.stop()


if __name__ == "__main__":
    main()
