"""scripts/bench: what the benchmarks share."""

import os
import tempfile

import pyspark
from local_kinesis import REGION
from pyspark.sql import SparkSession

SHARDS = 4
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def session():
    """A Spark on two cores with the connector; little is logged."""
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", os.environ["SPARK_KINESIS_JAR"])
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    print(f"PySpark {pyspark.__version__}, {os.cpu_count()} cores", flush=True)
    return spark


def source(spark, sandbox, stream, position, consumer_type="GetRecords"):
    reader = (
        spark.readStream.format("aws-kinesis")
        .option("kinesis.region", REGION)
        .option("kinesis.endpointUrl", sandbox.endpoint)
        .option("kinesis.streamName", stream.name)
        .option("kinesis.startingPosition", position)
        .option("kinesis.consumerType", consumer_type)
    )
    return (reader if consumer_type == "GetRecords" else reader.option("kinesis.consumerName", "bench")).load()


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def jvm_pid(spark):
    return spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()


def resident_megabytes(pid):
    """What a process has of the machine's memory now."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def calls_by_operation(sandbox):
    """How often the sandbox was called so far, by operation."""
    return {name: operation["calls"] for name, operation in sandbox.stats()["operations"].items()}


class Requests:
    """The requests that queries sent since this was made; shows them when printed."""

    SENT = ("DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords")

    def __init__(self, sandbox):
        self._sandbox = sandbox
        self._before = calls_by_operation(sandbox)

    def __str__(self):
        now = calls_by_operation(self._sandbox)
        counts = ((name, now.get(name, 0) - self._before.get(name, 0)) for name in self.SENT)
        return ", ".join(f"{count} {name}" for name, count in counts)


def scratch():
    return tempfile.TemporaryDirectory(prefix="kinesis-bench-")
