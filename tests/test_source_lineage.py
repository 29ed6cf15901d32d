"""Reshards at every stage of a query's life. The sandbox's knobs replace waiting."""

import time
from datetime import datetime, timezone

import pytest

from support.consumers import both_consumers
from support.queries import (
    Batches,
    await_probes,
    await_rows,
    drain,
    events,
    payloads,
    planned_batches,
    read,
    running,
    source_options,
    start,
)
from support.resharding import assert_all_in_order, open_shards

pytestmark = both_consumers


def test_split_and_merge_while_running(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream, describeShardInterval="100ms"))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        stream.put(events(0, 200))
        await_rows(query, batches, 200)
        stream.split(open_shards(stream)[1])
        stream.put(events(200, 200))
        await_rows(query, batches, 400)
        stream.merge(*open_shards(stream)[1:3])
        stream.put(events(400, 200))
        stream.split(open_shards(stream)[0])
        stream.put(events(600, 200))
        await_rows(query, batches, 800)
    # Then across a restart, with intermediate shards that were never open while the query ran.
    stream.split(open_shards(stream)[0])
    stream.put(events(800, 100))
    stream.split(open_shards(stream)[0])
    stream.put(events(900, 100))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 1000)
    assert_all_in_order(batches, 1000)


def test_no_batches_on_an_idle_stream_after_a_split(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(1)
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, describeShardInterval="100ms")), batches, checkpoint)
    with running(query):
        stream.put(events(0, 10))
        await_rows(query, batches, 10)
        stream.split(open_shards(stream)[0])
        stream.put(events(10, 10))
        await_rows(query, batches, 20)
        await_probes(sandbox, query, stream, more=6)
        settled = planned_batches(checkpoint)
        await_probes(sandbox, query, stream, more=12)
        assert planned_batches(checkpoint) == settled
    assert_all_in_order(batches, 20)


def test_from_a_time_before_two_reshards(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 200))
    # Arrival times are in whole milliseconds, so the position must be in a later one than these records.
    put = time.time()
    while time.time() < put + 0.002:
        pass
    position = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stream.put(events(200, 200))
    stream.split(open_shards(stream)[0])
    stream.put(events(400, 200))
    stream.merge(*open_shards(stream)[1:3])
    stream.put(events(600, 200))
    options = source_options(sandbox, stream, startingPosition=f"AT_TIMESTAMP {position}", maxFetchRecordsPerShard=70)
    assert_all_in_order(drain(read(spark, options), checkpoint), 600, first=200)


def test_latest_of_a_stream_that_was_resharded_before(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put([("early", b"before the query")] * 50)
    stream.split(open_shards(stream)[0])
    stream.merge(*open_shards(stream)[1:3])
    stream.put([("early", b"before the query")] * 50)
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, startingPosition="LATEST")), batches, checkpoint)
    with running(query):
        query.processAllAvailable()
        stream.put(events(0, 200))
        await_rows(query, batches, 200)
    assert_all_in_order(batches, 200)


def test_update_shard_count(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream, describeShardInterval="100ms", maxFetchRecordsPerShard=150))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        for round_, count in enumerate((4, 3, 6)):
            stream.put(events(round_ * 400, 400))
            stream.scale_to(count)
        stream.put(events(1200, 400))
        await_rows(query, batches, 1600)
    assert len(open_shards(stream)) == 6
    assert_all_in_order(batches, 1600)


def test_reshard_while_a_batch_is_half_done(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 1000))
    batches, disturbed = Batches(), []

    def sink(frame, batch_id):
        if not disturbed:
            disturbed.append(batch_id)
            frame.take(1)
            stream.split(open_shards(stream)[0])
            stream.put(events(1000, 300))
            frame.count()
            stream.merge(*open_shards(stream)[1:3])
            stream.put(events(1300, 300))
            raise RuntimeError("the batch is half done")
        batches(frame, batch_id)

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=200))
    with pytest.raises(Exception, match="half done"), running(start(frame, sink, checkpoint)) as query:
        query.awaitTermination(60)
    query = start(frame, sink, checkpoint)
    with running(query):
        await_rows(query, batches, 1600)
    assert_all_in_order(batches, 1600)


def test_parents_that_expired_while_the_query_was_down(spark, sandbox, knobs, new_stream, checkpoint):
    stream = new_stream(1)
    frame = read(spark, source_options(sandbox, stream, describeShardInterval="100ms", failOnDataLoss="true"))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        stream.put(events(0, 200))
        await_rows(query, batches, 200)
        parent = open_shards(stream)[0]
        stream.split(parent)
        stream.put(events(200, 200))
        await_rows(query, batches, 400)
    knobs(forget={"stream": stream.name, "shard": parent})
    stream.split(open_shards(stream)[0])
    stream.put(events(400, 200))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 600)
    assert_all_in_order(batches, 600)


def test_a_parent_that_expired_unread(spark, sandbox, knobs, new_stream, checkpoint):
    stream = new_stream(1)
    stream.put(events(0, 100))
    first = Batches()

    def sink(frame, batch_id):
        if first.rows:
            raise RuntimeError("stop here")
        first(frame, batch_id)

    options = source_options(sandbox, stream, maxFetchRecordsPerShard=10)
    with pytest.raises(Exception, match="stop here"), running(start(read(spark, options), sink, checkpoint)) as query:
        query.awaitTermination(60)
    assert sorted(first.data) == payloads(events(0, 10))
    parent = open_shards(stream)[0]
    stream.split(parent)
    stream.put(events(100, 100))
    knobs(forget={"stream": stream.name, "shard": parent})

    failing = read(spark, {**options, "kinesis.failOnDataLoss": "true"})
    with pytest.raises(Exception) as failure:
        drain(failing, checkpoint)
    for part in ("DataLoss", stream.name, parent, "AFTER ", "kinesis.failOnDataLoss to false"):
        assert part in str(failure.value)
    rest = drain(read(spark, options), checkpoint)
    assert_all_in_order(rest, 100, first=100)
