"""Latency from a record's put to its row in foreachBatch."""

import os
import random
import statistics
import threading
import time

from local_kinesis import Sandbox, Stream, await_condition

from . import SHARDS, arguments, scratch, session, source
from .table import Table

BURSTS, RECORDS, WARM_UP = 60, 4, 8
# Longer than any polling interval, so that bursts hit all of its phases.
PAUSE_SECONDS = (0.3, 1.5)


def bursts(stream, query, arrived, count):
    """Puts bursts at random moments, each after the previous one has arrived, and returns each record's latency."""
    took = []
    for burst in range(count):
        time.sleep(random.uniform(*PAUSE_SECONDS))
        names = [f"{time.monotonic_ns()}-{burst}-{n}" for n in range(RECORDS)]
        began = time.monotonic()
        stream.put([(f"{random.random()}", name.encode()) for name in names])
        await_condition(lambda: all(n in arrived for n in names) or not query.isActive, f"burst {burst}", 30, 0.002)
        if query.exception():
            raise query.exception()
        took += [arrived[name] - began for name in names]
    return took


def milliseconds(seconds):
    """The median, the 99th percentile and the longest of these times, as cells of a table."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return [f"{value * 1000:.0f}" for value in (statistics.median(seconds), cuts[98], max(seconds))]


def floor(spark, checkpoint):
    """Spark's own time for a batch of as many rows without Kinesis: seconds between two batches."""
    lock, ids = threading.Lock(), []

    def seen(frame, _):
        frame.select("value").collect()
        with lock:
            ids.append(time.monotonic())

    frame = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", RECORDS).option("numPartitions", SHARDS).load()
    query = frame.writeStream.foreachBatch(seen).option("checkpointLocation", checkpoint).start()
    await_condition(lambda: len(ids) > BURSTS + WARM_UP or not query.isActive, "the rate source's batches")
    query.stop()
    times = ids[WARM_UP:]
    return [after - before for before, after in zip(times, times[1:])]


def main():
    consumer_type = arguments("latency", consumer="GetRecords").consumer
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        stream = Stream.create(sandbox.client, "latency", SHARDS)
        arrived = {}

        def sink(frame, _):
            rows = frame.select("data").collect()
            now = time.monotonic()
            arrived.update((bytes(row.data).decode(), now) for row in rows)

        query = source(spark, sandbox, stream, "LATEST", consumer_type).writeStream.foreachBatch(sink)
        query = query.option("checkpointLocation", f"{work}/query").start()
        await_condition(lambda: sandbox.probes(stream.name) >= SHARDS or not query.isActive, "the query's start")
        bursts(stream, query, arrived, WARM_UP)
        took = bursts(stream, query, arrived, BURSTS)
        query.stop()
        table = Table(
            f"From put to row with {consumer_type}, {SHARDS} shards, {BURSTS} bursts of {RECORDS} records at random moments, milliseconds",
            "way", "median", "99th percentile", "longest",
        )  # fmt: skip
        table.row(consumer_type, *milliseconds(took))
        table.row("a whole batch of Spark's own rate source, back to back", *milliseconds(floor(spark, f"{work}/floor")))
        spark.stop()


if __name__ == "__main__":
    main()
