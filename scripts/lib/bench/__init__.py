"""scripts/bench: helpers of all benchmarks."""

import argparse
import os
import tempfile

import pyspark
from local_kinesis import REGION, Sandbox
from pyspark.sql import SparkSession

SHARDS = 4
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
CONSUMER_TYPES = ("GetRecords", "SubscribeToShard")


def arguments(what, **defaults):
    """The parsed command line of a benchmark: an option for each name, of its default's type. `consumer` takes a
    consumer type."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {what}")
    for name, default in defaults.items():
        choices = CONSUMER_TYPES if name == "consumer" else None
        parser.add_argument(f"--{name}", type=type(default), default=default, choices=choices)
    return parser.parse_args()


def tls_sandbox(work):
    """A sandbox that queries call over HTTPS, like the service. Create it before the session, whose JVM gets the
    trusted certificate through its environment."""
    os.environ.pop("AWS_CA_BUNDLE", None)  # would take precedence
    os.environ["SSL_CERT_FILE"] = f"{work}/authority.pem"
    return Sandbox(os.environ["KINESIS_SANDBOX"], "--tls-port", "0", "--tls-cert-file", os.environ["SSL_CERT_FILE"])


def session(tasks=2):
    """A Spark session with the connector that runs `tasks` tasks at a time and logs little."""
    spark = (
        SparkSession.builder.master(f"local[{tasks}]")
        .config("spark.jars", os.environ["SPARK_KINESIS_JAR"])
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    print(f"PySpark {pyspark.__version__}, {os.cpu_count()} cores", flush=True)
    return spark


def source(spark, sandbox, stream, position, consumer_type="GetRecords", options=()):
    reader = (
        spark.readStream.format("aws-kinesis")
        .option("kinesis.region", REGION)
        .option("kinesis.endpointUrl", sandbox.tls_endpoint or sandbox.endpoint)
        .option("kinesis.streamName", stream.name)
        .option("kinesis.startingPosition", position)
        .option("kinesis.consumerType", consumer_type)
    )
    if consumer_type != "GetRecords":
        reader = reader.option("kinesis.consumerName", "bench")
    return reader.options(**dict(options)).load()


def cpu_seconds(pid):
    """A process's user and system time so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def jvm_pid(spark):
    return spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()


def resident_megabytes(pid):
    """A process's current resident memory."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def reset_peak(pid):
    """Restarts the measurement of `peak_megabytes`."""
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")


def peak_megabytes(pid):
    """A process's peak resident memory since `reset_peak`."""
    with open(f"/proc/{pid}/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


def heap_megabytes(spark):
    """The driver's used heap after a garbage collection."""
    runtime = spark._jvm.java.lang.Runtime.getRuntime()
    runtime.gc()
    return (runtime.totalMemory() - runtime.freeMemory()) / 1e6


def threads(pid):
    """Number of a process's threads, and of those that belong to the connector."""
    names = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm") as comm:
                names.append(comm.read())
        except FileNotFoundError:
            pass  # The thread has ended.
    return len(names), sum(name.startswith("kinesis-") for name in names)


def calls_by_operation(sandbox):
    """Number of calls of the sandbox so far, by operation."""
    return {name: operation["calls"] for name, operation in sandbox.stats()["operations"].items()}


class Requests:
    """Counts the requests that queries have sent since its creation. Its text shows them."""

    SENT = ("DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords", "SubscribeToShard")

    def __init__(self, sandbox):
        self._sandbox = sandbox
        self._before = calls_by_operation(sandbox)

    def counts(self):
        """Number of requests by operation, without operations that sent none."""
        now = calls_by_operation(self._sandbox)
        counts = {name: now.get(name, 0) - self._before.get(name, 0) for name in self.SENT}
        return {name: count for name, count in counts.items() if count}

    def __str__(self):
        return ", ".join(f"{count} {name}" for name, count in self.counts().items()) or "none"


def scratch():
    return tempfile.TemporaryDirectory(prefix="kinesis-bench-")
