"""Growth of a process's memory outside the heap while it reads and writes, on four cores."""

import os
import random

from local_kinesis import REGION, Sandbox, Stream
from pyspark.sql import SparkSession

from . import jvm_pid, peak_megabytes, reset_peak, resident_megabytes, scratch, source

SHARDS, CORES = 16, 4
# Shards, bytes per record, number of records. The first stream measures the base cost: library, threads, connections.
STREAMS = [(1, 100, 100), (SHARDS, 1024, 160_000), (SHARDS, 1_000_000, 320)]


def session():
    """A Spark session whose whole heap is resident from the start, so that all growth is outside of it."""
    spark = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.jars", os.environ["SPARK_KINESIS_JAR"])
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", "-Xms1g -XX:+AlwaysPreTouch -XX:+UseSerialGC")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(CORES))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def warm_up(spark, checkpoint):
    """Runs Spark's own part of a query, since loaded and compiled code would count as growth too."""
    frame = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 1000).load()
    query = frame.writeStream.format("noop").option("checkpointLocation", checkpoint).trigger(availableNow=True)
    query.start().awaitTermination()
    spark.range(1_000_000).repartition(CORES).selectExpr("sum(id)").collect()


def measure(what, pid, run):
    reset_peak(pid)
    before = resident_megabytes(pid)
    run()
    print(f"{what:<50} {peak_megabytes(pid) - before:6.0f} MB more at most, {resident_megabytes(pid):6.0f} MB then", flush=True)


def main():
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        pid = jvm_pid(spark)
        warm_up(spark, f"{work}/warm-up")
        print(f"{'a JVM with a heap of 1 GiB, before its first record':<50} {resident_megabytes(pid):34.0f} MB", flush=True)
        for shards, size, count in STREAMS:
            stream, sink = (Stream.create(sandbox.client, f"{kind}-{size}", shards) for kind in ("source", "sink"))
            data = random.randbytes(size)
            stream.put((f"key-{n}", data) for n in range(count))

            def read(stream=stream, size=size):
                query = source(spark, sandbox, stream, "TRIM_HORIZON").writeStream.format("noop")
                query = query.option("checkpointLocation", f"{work}/{size}").trigger(availableNow=True)
                query.start().awaitTermination()

            def write(sink=sink, size=size, count=count):
                rows = spark.range(count).repartition(CORES)
                writer = rows.selectExpr("cast(id as string) as partitionKey", f"repeat('x', {size}) as data").write
                writer = writer.format("aws-kinesis").option("kinesis.region", REGION).option("kinesis.endpointUrl", sandbox.endpoint)
                writer.option("kinesis.streamName", sink.name).mode("append").save()

            measure(f"read {count} records of {size} bytes, {shards} shards", pid, read)
            measure(f"write {count} records of {size} bytes, {CORES} tasks", pid, write)
        spark.stop()


if __name__ == "__main__":
    main()
