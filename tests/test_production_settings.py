"""The typical job under the settings that clusters in production have, several of them in a run."""

import pyspark
import pytest

from support.countries import copied, country_events, expected
from support.delivery import EventLog
from support.submitted import ConnectedJob, TypicalJob

pytestmark = pytest.mark.slow

KRYO = "spark.serializer=org.apache.spark.serializer.KryoSerializer"
ADAPTIVE = "spark.sql.adaptive.enabled"

SETTINGS = {
    # Nothing that goes over the wire by Spark's serializer may be of a class of the connector's.
    "kryo-registered": [
        KRYO,
        "spark.kryo.registrationRequired=true",
        "spark.rdd.compress=true",
        "spark.task.maxFailures=1",
        "spark.python.worker.reuse=false",
        f"{ADAPTIVE}=false",
    ],
    "user-classes-first": [
        KRYO,
        "spark.driver.userClassPathFirst=true",
        "spark.executor.userClassPathFirst=true",
        "spark.python.worker.reuse=true",
        f"{ADAPTIVE}=true",
    ],
    "executors-come-and-go": [
        "spark.dynamicAllocation.enabled=true",
        "spark.dynamicAllocation.shuffleTracking.enabled=true",
        "spark.dynamicAllocation.minExecutors=0",
        "spark.dynamicAllocation.maxExecutors=2",
        "spark.dynamicAllocation.executorIdleTimeout=1s",
        "spark.decommission.enabled=true",
        "spark.storage.decommission.enabled=true",
        "spark.storage.decommission.rddBlocks.enabled=true",
        "spark.storage.decommission.shuffleBlocks.enabled=true",
    ],
}



def copies_all(sandbox, source, job):
    job.await_condition(lambda: sandbox.looks(source.name) >= 2, "the query's start", seconds=180)
    for first in range(0, 200, 100):
        source.put(country_events(first, 100))
        job.await_copied(first + 100)
    job.stop()
    assert copied(job.sink.read()) == expected(0, 200)


@pytest.mark.parametrize("conf", SETTINGS.values(), ids=SETTINGS)
def test_the_typical_job(sandbox, new_stream, checkpoint, tmp_path, conf):
    source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")
    log = EventLog(tmp_path / "events")
    conf = [*log.conf, *conf]
    with TypicalJob(sandbox, source, sink, checkpoint, tmp_path, conf=conf, python=True) as job:
        copies_all(sandbox, source, job)
    # Tasks may be killed when the query stops, and lost with their executor; none fails by itself.
    assert [failure for failure in log.failures() if '"ExceptionFailure"' in failure] == []


# PySpark 3.5 comes without the server.
if not pyspark.__version__.startswith("3."):

    def test_the_typical_job_by_spark_connect(sandbox, new_stream, checkpoint, tmp_path):
        source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")
        with ConnectedJob(sandbox, source, sink, checkpoint, tmp_path) as job:
            copies_all(sandbox, source, job)
