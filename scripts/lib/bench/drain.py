"""Throughput and CPU time of reading a backlog."""

import json
import os
import random
import subprocess
import time

from local_kinesis import REGION, Stream

from . import SHARDS, arguments, cpu_seconds, jvm_pid, peak_megabytes, reset_peak, scratch, session, source, tls_sandbox
from .table import Table

MEGABYTES, RECORD_BYTES, RUNS = 400, 1024, 3
WAYS = {
    "GetRecords": {},
    "GetRecords, CBOR": {"kinesis.protocol": "cbor"},
    "SubscribeToShard": {"kinesis.consumerType": "SubscribeToShard", "kinesis.consumerName": "bench"},
}


def fill(stream, count):
    data = [random.randbytes(RECORD_BYTES) for _ in range(64)]
    stream.put((f"key-{n}", data[n % len(data)]) for n in range(count))


def query_run(spark, sandbox, stream, checkpoint, way):
    """Seconds, CPU seconds and peak memory of the JVM, and rows of a query that reads all available records."""
    pid = jvm_pid(spark)
    reset_peak(pid)
    cpu, began = cpu_seconds(pid), time.monotonic()
    query = source(spark, sandbox, stream, "TRIM_HORIZON", options=WAYS[way]).writeStream.format("noop")
    query = query.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
    query.awaitTermination()
    seconds, cpu = time.monotonic() - began, cpu_seconds(pid) - cpu
    return seconds, cpu, peak_megabytes(pid), sum(progress["numInputRows"] for progress in query.recentProgress)


def bare_run(sandbox, stream):
    command = [os.environ["BARE_DRAIN"], sandbox.tls_endpoint, REGION, stream.name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(answer.stdout)
    return result["seconds"], result["cpuSeconds"], None, result["records"]


def show(table, count, what, seconds, cpu, peak, records):
    megabytes = records * RECORD_BYTES / 1e6
    rate = f"{megabytes / seconds:.0f}" if records > 1 else ""
    table.row(what, f"{seconds:.2f}", rate, f"{cpu:.2f}", f"{peak:.0f}" if peak else "")
    if records != count:
        raise SystemExit(f"error: {count} records were put, {records} were read")


def main():
    count = arguments("drain", megabytes=MEGABYTES).megabytes * 1_000_000 // RECORD_BYTES
    with scratch() as work, tls_sandbox(work) as sandbox:
        spark = session()
        warm_up, empty, stream = (Stream.create(sandbox.client, name, SHARDS) for name in ("warm-up", "one-record", "drain"))
        fill(warm_up, 10_000)
        fill(empty, 1)
        fill(stream, count)
        table = Table(
            f"A backlog of {count} records of {RECORD_BYTES} bytes in {SHARDS} shards, over HTTPS, {RUNS} runs of each in turn",
            "read by", "seconds", "MB/s", "CPU seconds", "MB of memory at most",
        )  # fmt: skip
        for way in WAYS:
            query_run(spark, sandbox, warm_up, f"{work}/warm-up-{way}", way)
        for run in range(RUNS):
            for way in WAYS:
                one = query_run(spark, sandbox, empty, f"{work}/empty-{way}-{run}", way)
                show(table, 1, f"{way}, a query for one record: what every query costs", *one)
                show(table, count, way, *query_run(spark, sandbox, stream, f"{work}/drain-{way}-{run}", way))
            show(table, count, "a bare aws-sdk-kinesis loop, one task for each shard", *bare_run(sandbox, stream))
        spark.stop()


if __name__ == "__main__":
    main()
