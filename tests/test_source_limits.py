"""The size limits of a batch, and when no batch runs."""

import time
from collections import Counter

from local_kinesis import await_condition

from support.consumers import both_consumers, both_consumers_at_length
from support.queries import (
    Batches,
    await_probes,
    await_rows,
    committed_batches,
    drain,
    events,
    payloads,
    planned_batches,
    raise_failure,
    read,
    running,
    source_options,
    start,
)


@both_consumers
def test_records_of_a_shard_in_a_batch(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(3)
    stream.put(events(0, 1000))
    shard_of = {key: stream.shard_of(key) for key, _ in events(0, 1000)}
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=40)), checkpoint)

    for rows in batches.by_id.values():
        assert max(Counter(shard_of[row.partitionKey] for row in rows).values()) <= 40
    assert sorted(batches.data) == payloads(events(0, 1000))


@both_consumers_at_length
def test_bytes_of_a_shard_in_a_batch(spark, sandbox, stream, checkpoint):
    stream.put([("k", f"{n:03d}".encode() + b"x" * 997) for n in range(100)])
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchBytesPerShard=10_000)), checkpoint)
    assert max(len(rows) for rows in batches.by_id.values()) <= 10
    assert [text[:3] for text in batches.data] == [f"{n:03d}" for n in range(100)]


@both_consumers
def test_no_batches_on_an_idle_stream(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(4)
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream, more=20)
        assert planned_batches(checkpoint) == []

        stream.put(events(0, 30))
        await_rows(query, batches, 30)
        # The batch is over once it is committed.
        await_condition(lambda: planned_batches(checkpoint) == committed_batches(checkpoint), "the batch's commit")
        settled = planned_batches(checkpoint)
        await_probes(sandbox, query, stream, more=20)
        assert planned_batches(checkpoint) == settled
        assert [rows for rows in batches.by_id.values() if not rows] == []

        stream.put(events(30, 1))
        await_rows(query, batches, 31)
    assert sorted(batches.data) == payloads(events(0, 31))


def test_an_idle_stream_is_asked_within_the_services_limits(spark, sandbox, new_stream, checkpoint):
    """The limit is five GetRecords calls per second and shard, for all readers together."""
    stream = new_stream(2)
    query = start(read(spark, source_options(sandbox, stream, **{"getRecords.fetchIntervalMs": 200})), Batches(), checkpoint)
    with running(query):
        await_probes(sandbox, query, stream)
        began = sandbox.stats()["streams"][stream.name]
        seconds = await_timed_probes(sandbox, query, stream, 20)
        ended = sandbox.stats()["streams"][stream.name]
    for shard, counters in ended.items():
        assert counters["get_records"] - began[shard]["get_records"] <= 5 * seconds + 2


def await_timed_probes(sandbox, query, stream, more):
    began = time.monotonic()
    await_probes(sandbox, query, stream, more=more)
    return time.monotonic() - began


def test_an_empty_answer_is_not_the_tip(spark, sandbox, knobs, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 50))
    knobs(empty_answers=6)
    batches = drain(read(spark, source_options(sandbox, stream)), checkpoint)
    assert sorted(batches.data) == payloads(events(0, 50))


def test_expired_iterators_and_failing_requests_are_no_failure(spark, sandbox, knobs, new_stream, checkpoint):
    stream = new_stream(2)
    batches = Batches()
    # Enough retries for one request to meet all of the failures below.
    options = source_options(sandbox, stream, clientRetryIntervalsMs=20, clientNumRetries=10)
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        stream.put(events(0, 20))
        await_rows(query, batches, 20)
        knobs(
            expire_iterators=True,
            faults=[
                {"operation": "GetRecords", "error": "throttle", "count": 3},
                {"operation": "GetRecords", "error": "internal", "count": 3},
                {"operation": "GetRecords", "error": "drop", "count": 2},
                {"operation": "GetShardIterator", "error": "throttle", "count": 2},
                {"operation": "ListShards", "error": "LimitExceededException", "count": 2},
            ],
        )
        stream.put(events(20, 20))
        await_rows(query, batches, 40)
        raise_failure(query)
    assert sorted(batches.data) == payloads(events(0, 40))


def test_the_services_limit_of_calls(spark, sandbox, knobs, new_stream, checkpoint):
    """Five calls per second and shard for the driver's probes and the readers together, in a backlog and at the tip."""
    stream = new_stream(2)
    stream.put(events(0, 1000))
    knobs(shard_limits={"read_calls": 5})
    options = {"getRecords.fetchIntervalMs": 200, "getRecords.numberOfRecordsPerFetch": 100}
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, **options)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 1000)
        for count in range(1001, 1011):
            stream.put(events(count - 1, 1))
            await_rows(query, batches, count)
    throttled = [shard["get_records_throttled"] for shard in sandbox.stats()["streams"][stream.name].values()]
    assert throttled == [0, 0]
    assert sorted(batches.data) == payloads(events(0, 1010))
