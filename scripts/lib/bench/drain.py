"""Throughput and CPU time of reading a backlog."""

import json
import os
import random
import subprocess
import time

from local_kinesis import REGION, Sandbox, Stream

from . import SHARDS, cpu_seconds, jvm_pid, scratch, session, source

RECORDS, RECORD_BYTES, RUNS = 100_000, 1024, 3


def fill(stream, count):
    data = [random.randbytes(RECORD_BYTES) for _ in range(64)]
    stream.put((f"key-{n}", data[n % len(data)]) for n in range(count))


def query_run(spark, sandbox, stream, checkpoint):
    """Seconds, CPU seconds of the JVM, and rows of a query that reads all available records."""
    pid = jvm_pid(spark)
    cpu, began = cpu_seconds(pid), time.monotonic()
    query = source(spark, sandbox, stream, "TRIM_HORIZON").writeStream.format("noop")
    query = query.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
    query.awaitTermination()
    seconds, cpu = time.monotonic() - began, cpu_seconds(pid) - cpu
    return seconds, cpu, sum(progress["numInputRows"] for progress in query.recentProgress)


def bare_run(sandbox, stream):
    told = subprocess.run(
        [os.environ["BARE_DRAIN"], sandbox.endpoint, REGION, stream.name], check=True, capture_output=True, text=True
    )
    result = json.loads(told.stdout)
    return result["seconds"], result["cpuSeconds"], result["records"]


def show(what, seconds, cpu, records):
    megabytes = records * RECORD_BYTES / 1e6
    print(f"{what:<58} {seconds:6.2f} s   {megabytes / seconds:6.1f} MB/s   {cpu:6.2f} CPU s   {records} records", flush=True)
    if records != RECORDS:
        raise SystemExit(f"error: {RECORDS} records were put, {records} were read")


def main():
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        warm_up, stream = (Stream.create(sandbox.client, name, SHARDS) for name in ("warm-up", "drain"))
        fill(warm_up, RECORDS // 10)
        fill(stream, RECORDS)
        query_run(spark, sandbox, warm_up, f"{work}/warm-up")
        empty = Stream.create(sandbox.client, "one-record", SHARDS)
        fill(empty, 1)
        for run in range(RUNS):
            seconds, cpu, _ = query_run(spark, sandbox, empty, f"{work}/empty-{run}")
            print(f"{'a query for one record, what every query costs':<58} {seconds:6.2f} s   {'':11}   {cpu:6.2f} CPU s", flush=True)
            show("Spark: AvailableNow into the noop sink", *query_run(spark, sandbox, stream, f"{work}/drain-{run}"))
            show("bare aws-sdk-kinesis loop, one task for each shard", *bare_run(sandbox, stream))
        spark.stop()


if __name__ == "__main__":
    main()
