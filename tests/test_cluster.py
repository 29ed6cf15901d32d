"""Two executor processes beside the driver."""

import json

import pytest

from support import providers
from support.countries import copied, country_events, expected
from support.delivery import EventLog
from support.processes import Job
from support.queries import events, sink_options, source_options
from support.submitted import TypicalJob

pytestmark = pytest.mark.slow


PLUGIN = "spark.plugins=io.sparkkinesis.KinesisPlugin"


@pytest.mark.parametrize("consumer", [None, "typical"], ids=["GetRecords", "SubscribeToShard"])
def test_the_typical_job(sandbox, new_stream, checkpoint, tmp_path, consumer):
    source, sink = new_stream(4, "kinesis-source"), new_stream(2, "kinesis-sink")
    log = EventLog(tmp_path / "events")
    with TypicalJob(sandbox, source, sink, checkpoint, tmp_path, consumer, log.conf) as job:
        job.await_condition(lambda: sandbox.probes(source.name) >= 4, "the query's start")
        for first in range(0, 600, 200):
            source.put(country_events(first, 200))
            job.await_copied(first + 200)
        job.stop()
    assert copied(sink.read()) == expected(0, 600)
    # A shard stays on its executor. Both executors have registered after the first batches at the latest.
    before, last = [stage for stage in log.executors_by_stage() if len(stage) == 4][-2:]
    assert last == before
    assert set(last.values()) == {"0", "1"}


def test_executors_with_the_plugin_report_what_was_pushed(sandbox, knobs, new_stream, checkpoint, tmp_path):
    knobs(subscriptions={"idle_event_ms": 500})
    source, sink = new_stream(4, "kinesis-source"), new_stream(2, "kinesis-sink")

    def events_pushed():
        return min(shard["events_pushed"] for shard in sandbox.stats()["streams"][source.name].values())

    with TypicalJob(sandbox, source, sink, checkpoint, tmp_path, "typical", [PLUGIN]) as job:
        job.await_condition(lambda: sandbox.probes(source.name) >= 4, "the query's start")
        source.put(country_events(0, 200))
        job.await_copied(200)
        probes = sandbox.probes(source.name)
        for first in range(200, 600, 200):
            # A pause of more than a second. A driver without reports would probe once a second.
            quiet = events_pushed() + 6
            job.await_condition(lambda quiet=quiet: events_pushed() >= quiet, "events without records")
            source.put(country_events(first, 200))
            job.await_copied(first + 200)
        assert sandbox.probes(source.name) == probes, job.tail()
        job.stop()
    assert copied(sink.read()) == expected(0, 600)
    assert set(sandbox.subscriptions(source.name).values()) == {0}


def test_a_busy_executor_holds_up_one_batch_at_most(sandbox, new_stream, checkpoint, tmp_path):
    """Spark waits three seconds for the executor that a task prefers. Then another one reads, and has the shard."""
    stream = new_stream(2)
    arguments = {"options": source_options(sandbox, stream), "checkpoint": str(checkpoint), "seconds": 40}
    with Job("held", arguments, tmp_path / "job.log", master="local-cluster[2,1,1024]") as job:
        assert job.wait() == 0, job.tail()
    seconds = json.loads(job.log.read_text().split("SECONDS ", 1)[1].splitlines()[0])
    assert sum(batch > 2.5 for batch in seconds) <= 1, seconds


def test_rows_beside_one_that_is_too_large_are_not_sent_twice(sandbox, new_stream, tmp_path):
    """The case in which another executor would retry a failed task."""
    stream = new_stream(2)
    arguments = {"options": sink_options(sandbox, stream), "rows": 400, "partitions": 4, "bad": 250}
    with Job("write_rows", arguments, tmp_path / "job.log", master="local-cluster[2,1,1024]") as job:
        assert job.wait() == 3, job.tail()
    message = job.log.read_text().split("FAILED: ", 1)[1]
    assert "1048577 of data" in message and "the limit is 1048576" in message
    sent = [record["Data"] for record in stream.read()]
    assert len(sent) == len(set(sent))
    assert max(map(len, sent)) < 10


def test_executors_with_a_folder_of_their_own_for_claims_are_an_error(sandbox, new_stream, checkpoint, tmp_path):
    """If each process has its own disk, no process sees another's claims."""
    stream, output = new_stream(2), tmp_path / "output"
    stream.put(events(0, 100))
    arguments = {
        "options": source_options(sandbox, stream, metadataPath="own:/claims"),
        "checkpoint": str(checkpoint),
        "output": str(output),
        "former": str(tmp_path / "former"),
    }
    conf = ["spark.hadoop.fs.own.impl=example.OwnDisk", f"spark.hadoop.own.disks={tmp_path / 'disks'}", "spark.task.maxFailures=2"]
    jars = [providers.jar(tmp_path / "classes")]
    with Job("overwrite_by_batch", arguments, tmp_path / "job.log", "local-cluster[2,1,1024]", conf, jars) as job:
        assert job.wait(600) == 1, job.tail()
    assert "the claims' folder isn't shared by the executors" in job.log.read_text()
    # Only the driver's disk has the driver's mark, and no executor continued without it.
    assert len(list((tmp_path / "disks").glob("*/claims/*/driver*"))) == 1
    assert list(output.rglob("part-*")) == []
