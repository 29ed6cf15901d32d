"""The typical job under settings of production clusters, several of them in each run."""

import pytest

from support.delivery import EventLog
from support.submitted import TypicalJob, copies_all

pytestmark = pytest.mark.slow

KRYO = "spark.serializer=org.apache.spark.serializer.KryoSerializer"
ADAPTIVE = "spark.sql.adaptive.enabled"

SETTINGS = {
    # Spark's serializer may not send objects of the connector's classes.
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


@pytest.mark.parametrize("conf", SETTINGS.values(), ids=SETTINGS)
def test_the_typical_job(sandbox, new_stream, checkpoint, tmp_path, conf):
    source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")
    log = EventLog(tmp_path / "events")
    conf = [*log.conf, *conf]
    with TypicalJob(sandbox, source, sink, checkpoint, tmp_path, conf=conf, python=True) as job:
        copies_all(sandbox, source, job)
    # Tasks may be killed when the query stops, or lost with their executor, but none fails by itself.
    assert [failure for failure in log.failures() if '"ExceptionFailure"' in failure] == []
