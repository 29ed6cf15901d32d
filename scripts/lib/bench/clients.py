"""The open files, memory and role sessions of a process that repeatedly reads ranges of a stream as a role."""

import os
import time
from datetime import UTC, datetime, timedelta

from local_kinesis import REGION, Stream, Sts

from . import heap_megabytes, jvm_pid, resident_megabytes, scratch, session, threads, tls_sandbox

READS, STEP, RECORDS = 500, 50, 1_000


def read(spark, sandbox, stream, sts, end):
    """The number of rows up to `end`."""
    frame = (
        spark.read.format("aws-kinesis")
        .option("kinesis.region", REGION)
        .option("kinesis.endpointUrl", sandbox.tls_endpoint)
        .option("kinesis.streamName", stream.name)
        .option("kinesis.stsRoleArn", "arn:aws:iam::123456789012:role/reader")
        .option("kinesis.stsEndpointUrl", sts.endpoint)
        .option("kinesis.endingPosition", f"AT_TIMESTAMP {end.isoformat(timespec='milliseconds')}")
        .load()
    )
    return frame.count()


def show(spark, sandbox, sts, reads):
    pid = jvm_pid(spark)
    heap, (count, ours) = heap_megabytes(spark), threads(pid)
    print(
        f"{reads:4d} reads   {len(os.listdir(f'/proc/{pid}/fd')):4d} open files   {sandbox.stats()['connections_open']:3d} connections"
        f"   {count:3d} threads, {ours} of the connector   resident {resident_megabytes(pid):5.0f} MB   heap {heap:4.0f} MB"
        f"   {sts.calls:3d} AssumeRole",
        flush=True,
    )


def main():
    with scratch() as work, tls_sandbox(work) as sandbox, Sts() as sts:
        spark = session()
        stream = Stream.create(sandbox.client, "clients", 1)
        stream.put([(f"key-{n}", b"a record") for n in range(RECORDS)])
        first = datetime.now(UTC) + timedelta(milliseconds=10)
        show(spark, sandbox, sts, 0)
        for number in range(1, READS + 1):
            end = first + timedelta(milliseconds=number)
            # An ending position must not be in the future.
            time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
            rows = read(spark, sandbox, stream, sts, end)
            if rows != RECORDS:
                raise SystemExit(f"error: {RECORDS} records were put, {rows} were read")
            if number % STEP == 0:
                show(spark, sandbox, sts, number)
        spark.stop()


if __name__ == "__main__":
    main()
