"""Throughput and cost of writes: without limits, and with the service's limits of a shard."""

import itertools
import os
import time

from local_kinesis import REGION, Sandbox, Stream

from . import arguments, calls_by_operation, cpu_seconds, jvm_pid, peak_megabytes, reset_peak, session
from .table import Table

MEGABYTES, SECONDS, TASKS = 400, 60, 2
ROW_BYTES, SHARDS = (1024, 100), (4, 32)
# A shard's limits per second. An idle shard accepts as much at once.
MOST_RECORDS, MOST_BYTES = 1000, 1 << 20
PARTITIONS = 16


def rows(spark, count, row_bytes):
    """`count` rows with different keys and `row_bytes` bytes of data."""
    return spark.range(0, count, 1, PARTITIONS).selectExpr(
        "CAST(id AS STRING) AS partitionKey", f"CAST(rpad(CAST(id AS STRING), {row_bytes}, 'abcdefghij') AS BINARY) AS data"
    )


def write(frame, sandbox, stream, aggregation):
    options = {
        "kinesis.region": REGION,
        "kinesis.endpointUrl": sandbox.endpoint,
        "kinesis.streamName": stream.name,
        "kinesis.sink.aggregationEnabled": str(aggregation).lower(),
    }
    frame.write.format("aws-kinesis").options(**options).mode("append").save()


class Shards:
    """The counts of accepted and refused records of a stream's shards."""

    def __init__(self, sandbox, stream):
        self._counts = sandbox.stats()["streams"][stream.name].values()

    @property
    def records(self):
        return sum(shard["records_in"] for shard in self._counts)

    @property
    def refused(self):
        return sum(shard["records_refused"] for shard in self._counts)

    def least_seconds(self):
        """Minimum time for the busiest shard under the service's limits, if it was idle before."""
        busiest = max(max(shard["records_in"] / MOST_RECORDS, shard["bytes_in"] / MOST_BYTES) for shard in self._counts)
        return busiest - 1


def run(spark, sandbox, shards, row_bytes, count, aggregation):
    """Writes `count` rows into a new stream. Returns a table row's first cells, the shards' counts, and the seconds."""
    stream = Stream.create(sandbox.client, f"sink-{shards}-{row_bytes}-{aggregation}", shards)
    pid, calls = jvm_pid(spark), calls_by_operation(sandbox).get("PutRecords", 0)
    reset_peak(pid)
    cpu, began = cpu_seconds(pid), time.monotonic()
    write(rows(spark, count, row_bytes), sandbox, stream, aggregation)
    seconds, cpu = time.monotonic() - began, cpu_seconds(pid) - cpu
    calls = calls_by_operation(sandbox)["PutRecords"] - calls
    counts = Shards(sandbox, stream)
    megabytes = count * row_bytes / 1e6
    cells = [
        f"{megabytes:.0f} MB in rows of {row_bytes} bytes, {shards} shards, {'aggregates' if aggregation else 'plain'}",
        f"{seconds:.1f}", f"{megabytes / seconds:.1f}", f"{cpu:.1f}", f"{calls}", f"{peak_megabytes(pid):.0f}",
    ]  # fmt: skip
    if not aggregation and counts.records != count:
        raise SystemExit(f"error: {count} rows were written, {counts.records} records are there")
    stream.delete()
    return cells, counts, seconds


def cases():
    return itertools.product(ROW_BYTES, SHARDS, (False, True))


COLUMNS = ("rows", "seconds", "MB/s", "CPU seconds", "requests", "MB of memory at most")


def unlimited(spark, sandbox, megabytes):
    table = Table("Writing as fast as it goes", *COLUMNS)
    for row_bytes, shards, aggregation in cases():
        cells, *_ = run(spark, sandbox, shards, row_bytes, megabytes * 1_000_000 // row_bytes, aggregation)
        table.row(*cells)


def limited(spark, sandbox, seconds):
    table = Table(
        "Writing against the service's limits, 1 MiB and 1,000 records a second and shard",
        *COLUMNS, "of the possible rate", "of the entries refused",
    )  # fmt: skip
    sandbox.knobs(shard_limits=True)
    for row_bytes, shards, aggregation in cases():
        by_bytes = MOST_BYTES / (row_bytes + 8)
        count = int(seconds * shards * (by_bytes if aggregation else min(by_bytes, MOST_RECORDS)))
        cells, counts, took = run(spark, sandbox, shards, row_bytes, count, aggregation)
        refused = counts.refused / (counts.records + counts.refused)
        table.row(*cells, f"{counts.least_seconds() / took:.1%}", f"{refused:.1%}")
    sandbox.knobs(shard_limits=False)


def main():
    asked = arguments("sink", megabytes=MEGABYTES, seconds=SECONDS, tasks=TASKS)
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox:
        spark = session(asked.tasks)
        write(rows(spark, 20_000, 100), sandbox, Stream.create(sandbox.client, "warm-up", 4), False)
        if asked.megabytes:
            unlimited(spark, sandbox, asked.megabytes)
        if asked.seconds:
            limited(spark, sandbox, asked.seconds)
        spark.stop()


if __name__ == "__main__":
    main()
