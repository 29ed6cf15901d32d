"""Streams that are split and merged."""

from collections import defaultdict

from support.queries import (
    Batches,
    await_looks,
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


def assert_all_in_order(batches, count):
    """Every event once, and those of a key in the order they were put."""
    assert sorted(batches.data) == payloads(events(0, count))
    by_key = defaultdict(list)
    for row in batches.rows:
        by_key[row.partitionKey].append(bytes(row.data))
    for key, data in by_key.items():
        assert data == sorted(data), key


def open_shards(stream):
    return [shard["ShardId"] for shard in stream.shards(open_only=True)]


def test_split_with_a_backlog(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 1000))
    stream.split(open_shards(stream)[0])
    stream.put(events(1000, 1000))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=150)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 2000)
    assert_all_in_order(batches, 2000)


def test_merge_with_a_backlog(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 1000))
    stream.merge(*open_shards(stream))
    stream.put(events(1000, 1000))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=150)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 2000)
    assert_all_in_order(batches, 2000)


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
    # And over a restart, with shards in between that were never open while the query ran.
    stream.split(open_shards(stream)[0])
    stream.put(events(800, 100))
    stream.split(open_shards(stream)[0])
    stream.put(events(900, 100))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 1000)
    assert_all_in_order(batches, 1000)


def test_from_the_oldest_record_of_a_stream_that_was_split_before(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(1)
    stream.put(events(0, 300))
    stream.split(open_shards(stream)[0])
    stream.put(events(300, 300))
    batches = drain(read(spark, source_options(sandbox, stream)), checkpoint)
    assert_all_in_order(batches, 600)


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
        await_looks(sandbox, query, stream, more=6)
        settled = planned_batches(checkpoint)
        await_looks(sandbox, query, stream, more=12)
        assert planned_batches(checkpoint) == settled
    assert_all_in_order(batches, 20)
