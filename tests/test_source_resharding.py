"""Streams that are split and merged, on the sandbox and on kinesis-local."""

from support.queries import Batches, await_rows, drain, events, read, running, source_options, start
from support.resharding import assert_all_in_order, open_shards


def test_split_with_a_backlog(spark, kinesis, new_stream_anywhere, checkpoint):
    stream = new_stream_anywhere(1)
    stream.put(events(0, 4000))
    stream.split(open_shards(stream)[0])
    stream.put(events(4000, 500))
    batches = Batches()
    query = start(read(spark, source_options(kinesis, stream, maxFetchRecordsPerShard=1500)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 4500, seconds=180)
    assert_all_in_order(batches, 4500)


def test_merge_with_two_backlogs(spark, kinesis, new_stream_anywhere, checkpoint):
    stream = new_stream_anywhere(2)
    stream.put(events(0, 4000))
    stream.merge(*open_shards(stream))
    stream.put(events(4000, 500))
    batches = Batches()
    query = start(read(spark, source_options(kinesis, stream, maxFetchRecordsPerShard=1500)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 4500, seconds=180)
    assert_all_in_order(batches, 4500)


def test_three_generations_at_once_from_the_oldest_record(spark, kinesis, new_stream_anywhere, checkpoint):
    stream = new_stream_anywhere(1)
    stream.put(events(0, 500))
    stream.split(open_shards(stream)[0])
    stream.put(events(500, 500))
    # A second split of a split shard, and a merge across two generations.
    stream.split(open_shards(stream)[0])
    stream.put(events(1000, 500))
    first, second, third = open_shards(stream)
    stream.merge(second, third)
    stream.put(events(1500, 500))
    assert first in open_shards(stream)
    batches = drain(read(spark, source_options(kinesis, stream, maxFetchRecordsPerShard=150)), checkpoint)
    assert_all_in_order(batches, 2000)


def test_latest_and_then_resharded_while_the_query_is_down(spark, kinesis, new_stream_anywhere, checkpoint):
    stream = new_stream_anywhere(2)
    stream.put([("early", b"before the query")])
    frame = read(spark, source_options(kinesis, stream, startingPosition="LATEST", describeShardInterval="100ms"))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        # The first progress follows the first probe, which follows the resolution of LATEST.
        query.processAllAvailable()
        stream.put(events(0, 200))
        await_rows(query, batches, 200)
    stream.put(events(200, 200))
    stream.split(open_shards(stream)[0])
    stream.put(events(400, 200))
    stream.merge(*open_shards(stream)[:2])
    stream.put(events(600, 200))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 800)
    assert_all_in_order(batches, 800)
