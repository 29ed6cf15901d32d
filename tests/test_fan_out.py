"""Enhanced fan-out: rows from subscriptions are as exact as polled ones. Registering and deregistering of consumers."""

import pytest
from local_kinesis import await_condition
from pyspark.errors import StreamingQueryException

from support import consumers
from support.delivery import finish
from support.processes import Job
from support.producer import Producer
from support.queries import (
    Batches,
    await_end,
    await_rows,
    committed_batches,
    drain,
    events,
    payloads,
    read,
    running,
    source_options,
    start,
)

pytestmark = pytest.mark.usefixtures("subscriptions")


def fan_out_options(sandbox, stream, consumer="app", **more):
    return source_options(sandbox, stream, **{**consumers.fan_out(consumer), **more})


def await_no_consumer(stream):
    await_condition(lambda: not stream.consumers(), lambda: f"no consumer, there are {stream.consumers()}")


def test_rows_are_exact_through_limits_split_and_restarts(spark, sandbox, new_stream, subscriptions, checkpoint):
    subscriptions(max_records_per_event=70, lifetime_ms=2_000)
    stream = new_stream(2)
    frame = read(spark, fan_out_options(sandbox, stream, maxFetchRecordsPerShard=50))
    batches, metrics = Batches(), []
    with Producer(stream, at_once=5) as producer:
        for run in range(1, 4):
            query = start(frame, batches, checkpoint)
            with running(query):
                await_rows(query, batches, 100 * run)
                if run == 2:
                    stream.split(stream.shards(open_only=True)[0]["ShardId"])
                metrics += [progress["sources"][0]["metrics"] for progress in query.recentProgress]
    query = start(frame, batches, checkpoint)

    def goes_on_with_subscriptions():
        return any(int(progress["sources"][0]["metrics"].get("prefetchHits", 0)) > 0 for progress in query.recentProgress)

    count = producer.count
    with running(query):
        await_rows(query, batches, count)
        # Only a batch after another one resumes a subscription, and its progress follows its rows with a delay.
        for _ in range(30):
            if goes_on_with_subscriptions():
                break
            stream.put(events(count, 10))
            count += 10
            await_rows(query, batches, count)
        assert goes_on_with_subscriptions()
        metrics += [progress["sources"][0]["metrics"] for progress in query.recentProgress]
    assert sorted(batches.data) == payloads(events(0, count))
    assert max(len(rows) for rows in batches.by_id.values()) <= 150
    assert all("bufferedBytes" in metric and "resubscriptions" in metric for metric in metrics if metric)


def test_two_actions_see_the_same_rows_and_one_subscription_lasts(spark, sandbox, stream, checkpoint):
    seen = []

    def twice(frame, batch_id):
        first = sorted(bytes(row.data).decode() for row in frame.collect())
        stream.put(events(1_000 + 10 * len(seen), 10 if len(seen) < 5 else 0))
        seen.append((first, sorted(bytes(row.data).decode() for row in frame.collect())))

    stream.put(events(0, 100))
    query = start(read(spark, fan_out_options(sandbox, stream)), twice, checkpoint)
    with running(query):
        await_condition(lambda: sum(len(first) for first, _ in seen) >= 150 or not query.isActive, "150 rows")
    assert all(first == second for first, second in seen)
    assert sorted(text for first, _ in seen for text in first) == payloads(events(0, 100) + events(1_000, 50))
    shard = sandbox.stats()["streams"][stream.name]["shardId-000000000000"]
    assert shard["subscriptions"] == 1


def test_available_now_ends_with_all_there_was(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    frame = read(spark, fan_out_options(sandbox, stream, maxFetchRecordsPerShard=60))
    stream.put(events(0, 500))
    batches = drain(frame, checkpoint)
    assert sorted(batches.data) == payloads(events(0, 500))
    await_no_consumer(stream)
    stream.put(events(500, 100))
    assert sorted(drain(frame, checkpoint, batches).data) == payloads(events(0, 600))


def test_two_queries_with_two_consumers(spark, sandbox, new_stream, tmp_path):
    stream = new_stream(2)
    queries = []
    for name in ("one", "two"):
        batches = Batches()
        query = start(read(spark, fan_out_options(sandbox, stream, name)), batches, tmp_path / name)
        queries.append((query, batches))
    with running(queries[0][0]), running(queries[1][0]):
        for first in range(0, 300, 100):
            stream.put(events(first, 100))
            for query, batches in queries:
                await_rows(query, batches, first + 100)
        assert sorted(stream.consumers()) == ["one", "two"]
    for _, batches in queries:
        assert sorted(batches.data) == payloads(events(0, 300))


def test_the_same_consumer_twice_is_an_error(spark, sandbox, stream, tmp_path):
    frame = read(spark, fan_out_options(sandbox, stream))
    batches = Batches()
    stream.put(events(0, 10))
    query = start(frame, batches, tmp_path / "one")
    with running(query):
        await_rows(query, batches, 10)
        second = start(frame, Batches(), tmp_path / "two")
        with pytest.raises(StreamingQueryException, match="Give each a kinesis.consumerName of its own"):
            await_end(second)
        # The second query's failure doesn't affect the first one, which owns the consumer.
        stream.put(events(10, 10))
        await_rows(query, batches, 20)
        assert list(stream.consumers()) == ["app"]
    await_no_consumer(stream)


def test_the_consumer_outlives_a_failure_and_goes_with_the_query(spark, sandbox, stream, checkpoint):
    frame = read(spark, fan_out_options(sandbox, stream))
    stream.put(events(0, 10))

    def failing(frame, batch_id):
        raise ValueError("on purpose")

    query = start(frame, failing, checkpoint)
    with pytest.raises(StreamingQueryException, match="on purpose"):
        await_end(query)
    assert list(stream.consumers()) == ["app"]
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 10)
    await_no_consumer(stream)
    assert sandbox.calls("RegisterStreamConsumer") > 0


def test_a_consumer_that_was_there_stays(spark, sandbox, stream, tmp_path):
    registered = sandbox.client.register_stream_consumer(StreamARN=stream.arn, ConsumerName="app")["Consumer"]["ConsumerARN"]
    stream.put(events(0, 10))
    by_arn = source_options(sandbox, stream, consumerType="SubscribeToShard", consumerArn=registered)
    deregistered = sandbox.calls("DeregisterStreamConsumer")
    for name, options in (("name", fan_out_options(sandbox, stream)), ("arn", by_arn)):
        assert len(drain(read(spark, options), tmp_path / name).rows) == 10
    assert list(stream.consumers()) == ["app"]
    assert sandbox.calls("DeregisterStreamConsumer") == deregistered


def test_faults_at_random_with_short_renewals(spark, sandbox, new_stream, subscriptions, checkpoint):
    subscriptions(lifetime_ms=1_500, exclusive_ms=200, max_records_per_event=20)
    stream = new_stream(3)
    sandbox.knobs(
        seed=7,
        faults=[
            {"operation": "SubscribeToShard", "error": error, "fraction": 0.08}
            for error in ("throttle", "internal", "drop")
        ],
        subscription_faults=[{"fault": fault, "fraction": 0.1} for fault in ("cut", "reset", "half_event")],
    )
    batches = Batches()
    query = start(read(spark, fan_out_options(sandbox, stream, maxFetchRecordsPerShard=40)), batches, checkpoint)
    with running(query):
        with Producer(stream, at_once=5) as producer:
            await_rows(query, batches, 600)
        await_rows(query, batches, producer.count)
    assert sorted(batches.data) == payloads(events(0, producer.count))


def test_bad_options_are_reported_at_once(spark, sandbox, stream):
    with pytest.raises(Exception, match="kinesis.consumerName is missing"):
        read(spark, source_options(sandbox, stream, consumerType="SubscribeToShard"))
    with pytest.raises(Exception, match="Read with GetRecords, the default"):
        options = {**fan_out_options(sandbox, stream), "kinesis.endingPosition": "LATEST"}
        spark.read.format("aws-kinesis").options(**options).load()


@pytest.mark.parametrize(
    "ends", ["by spark.stop()", "SIGTERM"]
)
def test_restarts_wait_for_no_listener_and_the_consumer_goes_with_the_application(
    sandbox, knobs, stream, checkpoint, tmp_path, ends
):
    before = {operation: sandbox.calls(f"{operation}StreamConsumer") for operation in ("Register", "Deregister")}
    # The second attempt comes when the query, whose calls the application's end drops, has failed long since.
    knobs(faults=[{"operation": "DeregisterStreamConsumer", "error": "internal", "count": 1}])
    ready = tmp_path / "ready"
    arguments = {
        "options": fan_out_options(sandbox, stream),
        "checkpoint": str(checkpoint),
        "restarts": 2 if ends == "by spark.stop()" else 0,
        "ready": str(ready),
        "ends": ends,
    }
    log, conf = tmp_path / "job.log", ["spark.sql.streaming.noDataProgressEventInterval=500"]
    with Producer(stream, at_once=2, pause=0.2) as producer, Job("restarted", arguments, log, conf=conf) as job:
        job.await_condition(ready.exists, "all starts", seconds=180)
        if ends != "by spark.stop()":
            assert list(stream.consumers()) == ["app"]
            producer.stop()
            job.await_condition(lambda: "query has been idle" in log.read_text(), "an idle query", seconds=60)
            job.signal(ends)
        job.wait()
        assert not stream.consumers(), job.tail()
    for operation, calls in (("Register", 1), ("Deregister", 2)):
        assert sandbox.calls(f"{operation}StreamConsumer") == before[operation] + calls, operation


def test_a_consumer_of_another_stream_is_refused(spark, sandbox, new_stream, checkpoint):
    stream, other = new_stream(), new_stream()
    arn = sandbox.client.register_stream_consumer(StreamARN=other.arn, ConsumerName="app")["Consumer"]["ConsumerARN"]
    other.put(events(0, 10))
    frame = read(spark, source_options(sandbox, stream, consumerType="SubscribeToShard", consumerArn=arn))
    with pytest.raises(StreamingQueryException, match="names a consumer of another stream"):
        drain(frame, checkpoint)


def test_more_new_consumers_than_are_made_at_a_time(spark, sandbox, stream, knobs, tmp_path):
    stream.put(events(0, 10))
    knobs(transition_ms=500)
    try:
        queries = []
        for number in range(7):
            batches = Batches()
            frame = read(spark, fan_out_options(sandbox, stream, f"app-{number}"))
            queries.append((start(frame, batches, tmp_path / str(number)), batches))
        for query, batches in queries:
            with running(query):
                await_rows(query, batches, 10)
    finally:
        knobs(transition_ms=0)
    await_no_consumer(stream)


@pytest.mark.slow
def test_kill_9_of_the_driver(sandbox, new_stream, checkpoint, tmp_path):
    stream = new_stream(2)
    output = tmp_path / "output"
    arguments = {
        "options": fan_out_options(sandbox, stream, maxFetchRecordsPerShard=200),
        "checkpoint": str(checkpoint),
        "output": str(output),
        "former": str(tmp_path / "former"),
    }
    with Producer(stream, at_once=5, pause=0.2) as producer:
        with Job("overwrite_by_batch", arguments, tmp_path / "job.log") as job:
            job.await_condition(lambda: len(committed_batches(checkpoint)) > 3, "some batches", interval=0.01)
            job.kill()
        assert list(stream.consumers()) == ["app"]
        with Job("overwrite_by_batch", arguments, tmp_path / "job.log") as job:
            finish(job, stream, producer, output)
