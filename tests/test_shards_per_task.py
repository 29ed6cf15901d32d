"""kinesis.shardsPerTask: fewer tasks than shards."""

from collections import defaultdict

import pytest
from support.consumers import both_consumers
from support.queries import Batches, await_rows, drain, events, payloads, read, running, source_options, start


class Sink(Batches):
    """A sink that also records each batch's number of tasks."""

    def __init__(self):
        super().__init__()
        self.tasks = {}

    def __call__(self, frame, batch_id):
        self.tasks[batch_id] = frame.rdd.getNumPartitions()
        super().__call__(frame, batch_id)


def claims(checkpoint):
    """The names of the claims of each batch."""
    by_batch = defaultdict(set)
    for file in checkpoint.glob("sources/0/claims/*/*/*"):
        if not file.name.startswith("."):
            by_batch[int(file.parent.name)].add(file.name)
    return by_batch


def assert_in_order(rows):
    by_key = defaultdict(list)
    for row in rows:
        by_key[row.partitionKey].append(bytes(row.data))
    for key, data in by_key.items():
        assert data == sorted(data), key


@both_consumers
def test_all_rows_once_with_fewer_tasks_and_claims(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(10)
    # Enough keys for every shard to get some: AvailableNow's groups don't include a shard that is empty from the start.
    stream.put((f"key-{n % 200}", data) for n, (_, data) in enumerate(events(0, 1000)))
    options = source_options(sandbox, stream, shardsPerTask=4, maxFetchRecordsPerShard=60, extraColumns="shardId")
    sink = drain(read(spark, options), checkpoint, sink=Sink())
    assert sorted(sink.data) == payloads(events(0, 1000))
    assert_in_order(sink.rows)
    assert len(sink.by_id) > 1
    assert sink.tasks[0] == 3
    first = claims(checkpoint)[1]
    assert {"group-shardId-000000000000-4", "group-shardId-000000000008-2"} <= first and len(first) == 3
    for row in sink.rows:
        assert row.shardId == stream.shard_of(row.partitionKey)
    # A task returns its shards' rows one shard after the other.
    for rows in sink.by_id.values():
        shards = [row.shardId for row in rows]
        assert shards == sorted(shards)


@both_consumers
def test_two_actions_see_the_same_batch(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(6)
    stream.put(events(0, 600))
    seen = []

    def write(frame, batch_id):
        some = frame.take(1)
        # Records that arrived meanwhile are not part of this batch.
        stream.put(events(600 + 10 * batch_id, 10) if batch_id < 3 else [])
        rows = frame.collect()
        assert [row.data for row in rows[:1]] == [row.data for row in some]
        assert frame.collect() == rows
        seen.extend(bytes(row.data).decode() for row in rows)

    options = source_options(sandbox, stream, shardsPerTask=3, maxFetchRecordsPerShard=40)
    query = start(read(spark, options), write, checkpoint)
    with running(query):
        batches = Batches()
        batches.by_id = {0: seen}
        await_rows(query, batches, 630)
    assert sorted(seen) == payloads(events(0, 630))


@both_consumers
def test_a_restart_with_another_number_repeats_the_batch_in_flight_as_it_was(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(5)
    stream.put(events(0, 500))
    options = source_options(sandbox, stream, shardsPerTask=3, maxFetchRecordsPerShard=30)
    crashed = {}

    def crash(frame, batch_id):
        if batch_id == 1:
            crashed["rows"], crashed["tasks"] = frame.collect(), frame.rdd.getNumPartitions()
            raise RuntimeError("crashed")
        first(frame, batch_id)

    first = Sink()
    with pytest.raises(Exception, match="crashed"):
        drain(read(spark, options), checkpoint, sink=crash)
    stream.put(events(500, 100))
    again = drain(read(spark, {**options, "kinesis.shardsPerTask": "2"}), checkpoint, sink=Sink())
    assert (again.by_id[1], again.tasks[1]) == (crashed["rows"], crashed["tasks"]) and crashed["tasks"] == 2
    assert again.tasks[2] == 3
    assert sorted(first.data + again.data) == payloads(events(0, 600))
    assert_in_order(first.rows + again.rows)


@both_consumers
def test_a_split_and_a_merge_while_running(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(3)
    options = source_options(sandbox, stream, shardsPerTask=2, describeShardInterval="100ms")
    sink = Sink()
    query = start(read(spark, options), sink, checkpoint)
    with running(query):
        stream.put(events(0, 300))
        await_rows(query, sink, 300)
        shards = [shard["ShardId"] for shard in stream.shards(open_only=True)]
        stream.split(shards[0])
        stream.merge(*shards[1:])
        stream.put(events(300, 300))
        await_rows(query, sink, 600)
    assert sorted(sink.data) == payloads(events(0, 600))
    assert_in_order(sink.rows)
    assert max(sink.tasks.values()) <= 3


def test_a_batch_read_groups_too(spark, sandbox, new_stream):
    stream = new_stream(5)
    stream.put(events(0, 500))
    frame = spark.read.format("aws-kinesis").options(**source_options(sandbox, stream, shardsPerTask=2)).load()
    assert frame.rdd.getNumPartitions() == 3
    assert sorted(bytes(row.data).decode() for row in frame.select("data").collect()) == payloads(events(0, 500))
    assert frame.limit(3).count() == 3
