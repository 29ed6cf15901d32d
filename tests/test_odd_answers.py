"""Unusual responses of the service, and rare triggers: no records lost or repeated, and no query that stalls."""

import threading

import pytest
from local_kinesis import await_condition

from support.queries import (
    Batches,
    await_probes,
    await_rows,
    drain,
    events,
    payloads,
    read,
    running,
    source_options,
    start,
)

SHARD = "shardId-000000000000"


def run_once(frame, batches, checkpoint):
    """Runs at most one batch, like a job that a scheduler starts."""
    query = start(frame, batches, checkpoint, once=True)
    with running(query):
        assert query.awaitTermination(60), "the query with Trigger.Once did not end"


def not_found(stream, operation, count=1):
    error = {"error": "ResourceNotFoundException", "count": count}
    return {"operation": operation, "stream": stream.name, "shard": SHARD, **error}


@pytest.mark.parametrize("operation", ["GetRecords", "GetShardIterator"])
def test_a_live_shard_that_is_not_found_once(spark, sandbox, stream, knobs, checkpoint, operation):
    stream.put(events(0, 200))
    batches = Batches()

    def write(frame, batch_id):
        knobs(faults=[not_found(stream, operation)])
        batches(frame, batch_id)

    query = start(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=50)), write, checkpoint)
    with running(query):
        await_rows(query, batches, 200)
    assert sorted(batches.data) == payloads(events(0, 200))


REFUSALS = ["AccessDeniedException", "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException"]


@pytest.mark.parametrize("operation", ["GetRecords", "GetShardIterator", "ListShards"])
@pytest.mark.parametrize("error", [*REFUSALS, "ValidationException"])
def test_a_refusal_of_a_moment_ends_no_running_query(spark, sandbox, stream, knobs, checkpoint, operation, error):
    """While a policy, a grant or a key is changed, single calls of a query that has been reading are refused."""
    stream.put(events(0, 100))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 100)
        await_probes(sandbox, query, stream)
        knobs(faults=[{"operation": operation, "error": error, "count": 2, "stream": stream.name}])
        if operation == "ListShards":
            # Else nothing is listed. The call itself, unlike stream.split, lists nothing.
            middle = str(2**127)
            sandbox.client.split_shard(StreamName=stream.name, ShardToSplit=SHARD, NewStartingHashKey=middle)
        if operation == "GetShardIterator":
            knobs(expire_iterators=True)
        refused = lambda: sandbox.stats()["operations"][operation]["errors"].get(error, 0)  # noqa: E731
        before = refused()
        await_condition(lambda: refused() >= before + 1 or not query.isActive, "a refused call")
        stream.put(events(100, 100))
        await_rows(query, batches, 200)
    assert sorted(batches.data) == payloads(events(0, 200))


@pytest.mark.parametrize("error", ["AccessDeniedException", "KMSDisabledException"])
def test_refusals_of_seconds_fail_no_batch(spark, sandbox, stream, knobs, checkpoint, error):
    """Spark runs a failed task again at once, so that its four attempts are over within a second."""
    stream.put(events(0, 400))
    batches, end = Batches(), threading.Timer(3, knobs, kwargs={"clear_faults": True})

    def write(frame, batch_id):
        if batch_id == 2:
            knobs(faults=[{"operation": "GetRecords", "error": error, "fraction": 1.0, "stream": stream.name}])
            end.start()
        batches(frame, batch_id)

    options = source_options(sandbox, stream, maxFetchRecordsPerShard=50, **{"prefetch.maxBytesPerShard": 1})
    query = start(read(spark, options), write, checkpoint)
    try:
        with running(query):
            await_rows(query, batches, 400)
    finally:
        # Its call would disturb the next test.
        end.cancel()
    assert sorted(batches.data) == payloads(events(0, 400))


def test_runs_of_one_batch_get_over_resharding(spark, sandbox, stream, checkpoint):
    """A closed shard without records doesn't keep a run from its children."""
    stream.split(SHARD)
    stream.split("shardId-000000000001")
    stream.put(events(0, 100))
    batches = Batches()
    frame = read(spark, source_options(sandbox, stream))
    # A child's records are at the earliest in the batch after its parent's.
    for _ in range(2):
        run_once(frame, batches, checkpoint)
    assert sorted(batches.data) == payloads(events(0, 100))
    stream.split("shardId-000000000002")
    run_once(frame, batches, checkpoint)
    stream.put(events(100, 100))
    for _ in range(2):
        run_once(frame, batches, checkpoint)
    assert sorted(batches.data) == payloads(events(0, 200))


def test_children_that_are_listed_late_end_no_run(spark, sandbox, stream, knobs, checkpoint):
    stream.put(events(0, 50))
    stream.split(SHARD)
    stream.put(events(50, 50))
    batches = Batches()

    def write(frame, batch_id):
        if batch_id == 0:
            knobs(listings=[{"stream": stream.name, "show": "without_newest", "count": 1}])
        batches(frame, batch_id)

    drain(read(spark, source_options(sandbox, stream)), checkpoint, write)
    assert sorted(batches.data) == payloads(events(0, 100))


def test_a_run_for_what_is_there_ends_though_each_batch_is_full(spark, sandbox, stream, checkpoint):
    # Exactly two full batches, so that neither of them reaches the tip.
    stream.put(events(0, 20))
    put = [20]

    batches = Batches()

    def write(frame, batch_id):
        stream.put(events(put[0], 10))
        put[0] += 10
        batches(frame, batch_id)

    drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10)), checkpoint, write)
    assert set(payloads(events(0, 20))) <= set(batches.data)


def test_a_stream_made_again_ends_the_query(spark, sandbox, stream, checkpoint):
    stream.put(events(0, 10))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with pytest.raises(Exception, match="deleted and made again"):
        with running(query):
            await_rows(query, batches, 10)
            await_probes(sandbox, query, stream)
            stream.delete()
            type(stream).create(stream.client, stream.name, 1)
            await_condition(lambda: not query.isActive, lambda: "the query to notice")


def test_what_was_put_is_there_when_all_is_processed(spark, sandbox, stream, checkpoint):
    batches = Batches()
    options = source_options(sandbox, stream)
    # Every other call of Spark comes before the next probe is due.
    options["kinesis.getRecords.fetchIntervalMs"] = "400"
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream)
        for run in range(5):
            stream.put(events(10 * run, 10))
            query.processAllAvailable()
            assert sorted(batches.data) == payloads(events(0, 10 * (run + 1)))
