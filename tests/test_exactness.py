"""Rows stay exact despite failures of tasks, executors and the service's responses."""

import threading

import pytest
from local_kinesis import await_condition

from support.cluster import Cluster
from support.consumers import both_consumers, both_consumers_at_length
from support.delivery import SMALL_STEPS, EventLog, delivered_by_batch, errors_of, finish
from support.processes import Job
from support.producer import Producer
from support.queries import (
    Batches,
    await_rows,
    committed_batches,
    event,
    events,
    payloads,
    planned_batches,
    raise_failure,
    read,
    running,
    source_options,
    start,
)


def disturbed(name, sandbox, stream, checkpoint, output):
    """The arguments of jobs/disturbed.py."""
    return {
        "options": source_options(sandbox, stream, **SMALL_STEPS),
        "checkpoint": str(checkpoint),
        "output": str(output),
        "disturbance": name,
    }


@pytest.mark.long
@both_consumers
def test_speculative_attempts(sandbox, new_stream, checkpoint, tmp_path):
    stream, output, log = new_stream(4), tmp_path / "output", EventLog(tmp_path / "events")
    conf = (
        *log.conf,
        "spark.executor.cores=2",
        "spark.executor.memory=600m",
        "spark.speculation=true",
        "spark.speculation.interval=50ms",
        "spark.speculation.multiplier=1.1",
        "spark.speculation.quantile=0.25",
        "spark.speculation.minTaskRuntime=100ms",
        "spark.speculation.efficiency.enabled=false",
    )
    arguments = disturbed("slow", sandbox, stream, checkpoint, output)
    with (
        Producer(stream, pause=0.5) as producer,
        Cluster(tmp_path / "cluster") as cluster,
        Job("disturbed", arguments, tmp_path / "job.log", master=cluster.master, conf=conf) as job,
    ):
        job.await_condition(
            lambda: len(log.speculative_attempts()) >= 8 and len(delivered_by_batch(output)) >= 8,
            lambda: f"speculative attempts and batches: {len(log.speculative_attempts())}, {len(delivered_by_batch(output))}",
            seconds=180,
            interval=0.5,
        )
        finish(job, stream, producer, output)


@pytest.mark.slow
@both_consumers_at_length
def test_tasks_that_fail_at_every_stage(sandbox, new_stream, checkpoint, tmp_path):
    stream, output, log = new_stream(3), tmp_path / "output", EventLog(tmp_path / "events")
    arguments = disturbed("failing", sandbox, stream, checkpoint, output)
    stages = ["at the start", "at a row", "at the end", "in the JVM"]

    def failed():
        failures = log.failures()
        return {stage: sum(f"on purpose, {stage}" in text for text in failures) for stage in stages}

    with (
        Producer(stream, pause=0.5) as producer,
        # Half of the attempts may fail, so that many are allowed.
        Job("disturbed", arguments, tmp_path / "job.log", master="local[2,30]", conf=log.conf) as job,
    ):
        job.await_condition(lambda: min(failed().values()) >= 2, lambda: f"failures: {failed()}", seconds=180, interval=0.5)
        finish(job, stream, producer, output)


@both_consumers
def test_scans_of_a_batch_at_the_same_time(sandbox, new_stream, checkpoint, tmp_path):
    stream, output = new_stream(), tmp_path / "output"
    arguments = {
        "options": source_options(sandbox, stream, **SMALL_STEPS),
        "checkpoint": str(checkpoint),
        "output": str(output),
    }
    sides = [output / side for side in ("left", "right")]

    def written(count):
        return all(sum(map(len, delivered_by_batch(side).values())) >= 2 * count for side in sides)

    with (
        Producer(stream, pause=0.3) as producer,
        # Failed tasks are not retried.
        Job("together", arguments, tmp_path / "job.log", master="local[2,1]") as job,
    ):
        job.await_condition(lambda: min(len(delivered_by_batch(side)) for side in sides) >= 5, "five batches", 180, 0.2)
        producer.stop()
        job.await_condition(lambda: written(producer.count), lambda: f"all of {producer.count} records", 180, 0.2)
    left, right = ({batch: sorted(texts) for batch, texts in delivered_by_batch(side).items()} for side in sides)
    assert left == right
    for texts in left.values():
        assert texts[::2] == texts[1::2], "each row is there twice"
    assert errors_of({batch: texts[::2] for batch, texts in left.items()}, producer.count) == {}


@both_consumers
@pytest.mark.parametrize("first_action", ["count", "isEmpty", "write"])
def test_an_action_before_the_write(spark, sandbox, new_stream, checkpoint, tmp_path, first_action):
    stream = new_stream(2)
    stream.put(events(0, 100))
    put = [100]
    output, first_output = tmp_path / "output", tmp_path / "first"
    counted, empty = {}, {}

    def act_then_write(frame, batch_id):
        rows = frame.selectExpr("CAST(data AS STRING) AS value")
        if first_action == "count":
            counted[batch_id] = rows.count()
        elif first_action == "isEmpty":
            empty[batch_id] = rows.isEmpty()
        else:
            rows.write.mode("overwrite").text(f"{first_output}/batch={batch_id}")
        # Records that arrive between the actions belong to the next batch.
        if put[0] < 300:
            stream.put(events(put[0], 50))
            put[0] += 50
        rows.write.mode("overwrite").text(f"{output}/batch={batch_id}")

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=40))
    query = start(frame, act_then_write, checkpoint)
    with running(query):
        await_query(query, lambda: sum(map(len, delivered_by_batch(output).values())) >= 300, "300 rows")
    batches = delivered_by_batch(output)
    assert errors_of(batches, 300) == {}
    if first_action == "count":
        assert {batch: len(texts) for batch, texts in batches.items()} == {batch: counted[batch] for batch in batches}
    if first_action == "isEmpty":
        assert {batch: not texts for batch, texts in batches.items()} == {batch: empty[batch] for batch in batches}
    if first_action == "write":
        first = delivered_by_batch(first_output)
        assert {batch: sorted(first[batch]) for batch in batches} == {batch: sorted(texts) for batch, texts in batches.items()}


def await_query(query, condition, what, seconds=90):
    await_condition(lambda: condition() or not query.isActive, what, seconds)
    raise_failure(query)


def rows_read(query):
    """The number of rows that the source read in each batch, without empty batches."""
    rows = {progress["batchId"]: int(progress["sources"][0]["metrics"]["records"]) for progress in query.recentProgress}
    return {batch: count for batch, count in rows.items() if count > 0}


@both_consumers
def test_a_filter_that_drops_everything(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 200))
    batches = Batches()
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=40)).where("partitionKey = 'nobody'")
    query = start(frame, batches, checkpoint)
    with running(query):
        await_query(query, lambda: sum(rows_read(query).values()) >= 200, lambda: f"200 rows read, {rows_read(query)}")
        stream.put(events(200, 10))
        await_query(query, lambda: sum(rows_read(query).values()) >= 210, lambda: f"210 rows read, {rows_read(query)}")
        await_query(query, lambda: committed_batches(checkpoint) == planned_batches(checkpoint), "the commit")
        assert sum(rows_read(query).values()) == 210
        assert len(rows_read(query)) >= 3
    assert batches.rows == []
    # Without the filter, the query continues from its offsets.
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with running(query):
        stream.put(events(210, 10))
        await_rows(query, batches, 10)
    assert sorted(batches.data) == payloads(events(210, 10))


@both_consumers_at_length
def test_a_streaming_limit(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 100))
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10))
    batches = Batches()
    query = start(frame.limit(35), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 35)
        await_query(query, lambda: sum(rows_read(query).values()) >= 100, lambda: f"100 rows read, {rows_read(query)}")
        assert sum(rows_read(query).values()) == 100
    assert len(batches.data) == 35
    assert len(set(batches.data)) == 35
    assert set(batches.data) <= set(payloads(events(0, 100)))
    # The limit applies to the query, over all its runs.
    query = start(frame.limit(35), batches, checkpoint)
    with running(query):
        stream.put(events(100, 20))
        await_query(query, lambda: sum(rows_read(query).values()) >= 20, lambda: f"20 rows read, {rows_read(query)}")
    assert len(batches.data) == 35


@both_consumers
def test_a_trickle_ends_its_batches(spark, sandbox, new_stream, checkpoint):
    """One record per second and shard: batches end while records keep arriving."""
    stream = new_stream(4)
    ranges = [int(shard["HashKeyRange"]["StartingHashKey"]) for shard in stream.shards()]
    batches, stop = Batches(), threading.Event()
    put = [0]

    def trickle():
        while not stop.wait(1):
            stream.put([(*event(put[0] + n), str(key)) for n, key in enumerate(ranges)])
            put[0] += len(ranges)

    trickling = threading.Thread(target=trickle, daemon=True)
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with running(query):
        trickling.start()
        try:
            # A batch that waits for a pause, or for a minute, would exceed this limit.
            await_query(
                query,
                lambda: len(committed_batches(checkpoint)) >= 4 and put[0] >= 32,
                lambda: f"4 batches of {put[0]} records, has {committed_batches(checkpoint)}",
                seconds=45,
            )
            assert len(batches.rows) > 0
        finally:
            stop.set()
            trickling.join(30)
        await_rows(query, batches, put[0], seconds=45)
    assert sorted(batches.data) == payloads(events(0, put[0]))


def test_a_service_that_is_slow_and_fails_one_call_of_five(spark, sandbox, knobs, new_stream, checkpoint):
    stream = new_stream(3)
    options = {
        "getRecords.numberOfRecordsPerFetch": 10,
        "maxFetchRecordsPerShard": 60,
        "clientRetryIntervalsMs": 5,
        "clientMaxRetryIntervalMs": 50,
        "clientNumRetries": 10,
    }
    frame = read(spark, source_options(sandbox, stream, **options))
    batches = Batches()
    # Each probability applies to the calls that the preceding faults spared.
    kinds = [("throttle", 0.1), ("internal", 0.06), ("drop", 0.06)]
    operations = ["GetRecords", "GetShardIterator", "ListShards"]
    faults = [{"operation": name, "error": error, "fraction": part} for name in operations for error, part in kinds]

    def failures():
        return sum(sandbox.stats()["operations"].get("GetRecords", {}).get("errors", {}).values())

    before = failures()
    slow = {"GetRecords": 60, "GetShardIterator": 60, "ListShards": 60}
    knobs(faults=faults, delays=slow)
    try:
        with Producer(stream) as producer:
            for run in range(1, 4):
                query = start(frame, batches, checkpoint)
                with running(query):
                    await_rows(query, batches, 200 * run, seconds=120)
        query = start(frame, batches, checkpoint)
        with running(query):
            count = producer.count
            await_rows(query, batches, count, seconds=120)
            # The number of calls so far depends on the machine, and chance decides which of them fail.
            while failures() - before < 20 or count == producer.count:
                stream.put(events(count, 1))
                count += 1
                await_rows(query, batches, count, seconds=120)
                assert count < producer.count + 200, f"{failures() - before} calls failed"
    finally:
        knobs(delays=dict.fromkeys(slow, 0))
    assert errors_of({n: [bytes(row.data).decode() for row in rows] for n, rows in batches.by_id.items()}, count) == {}
