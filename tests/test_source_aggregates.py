"""Records of KPL aggregates."""

from collections import Counter

import pytest
from support import kpl
from support.consumers import both_consumers, both_consumers_at_length
from support.queries import (
    Batches,
    await_end,
    await_rows,
    drain,
    events,
    payloads,
    read,
    running,
    source_options,
    start,
)


def aggregates(count, of):
    """`count` Kinesis records, each an aggregate of `of` numbered user records."""
    return [(f"outer-{n}", kpl.aggregate(events(n * of, of))) for n in range(count)]


def test_user_records_come_out_with_keys_of_their_own(spark, sandbox, stream, checkpoint):
    inner = [("a", b"1"), ("ключ", b""), ("a", b"3" * 1000), ("b", bytes(range(256)))]
    stream.put([("plain", b"before"), ("outer", kpl.aggregate(inner)), ("plain", b"after")])
    records = stream.read()
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows

    assert [(row.partitionKey, bytes(row.data)) for row in rows] == [("plain", b"before"), *inner, ("plain", b"after")]
    numbers = [records[0]["SequenceNumber"], *[records[1]["SequenceNumber"]] * 4, records[2]["SequenceNumber"]]
    assert [row.sequenceNumber for row in rows] == numbers


@both_consumers
def test_a_batch_never_ends_inside_an_aggregate(spark, sandbox, stream, checkpoint):
    stream.put(aggregates(30, of=7))
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10)), checkpoint)

    assert len(batches.by_id) > 5
    for rows in batches.by_id.values():
        assert set(Counter(row.sequenceNumber for row in rows).values()) == {7}
    assert batches.data == payloads(events(0, 210))


@both_consumers_at_length
def test_an_aggregate_larger_than_the_limit_is_one_batch(spark, sandbox, stream, checkpoint):
    stream.put(aggregates(4, of=25))
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10)), checkpoint)
    assert [len(batches.by_id[n]) for n in sorted(batches.by_id)] == [25, 25, 25, 25]
    assert batches.data == payloads(events(0, 100))


def test_what_only_begins_like_an_aggregate_is_a_plain_record(spark, sandbox, stream, checkpoint):
    broken = kpl.aggregate(events(0, 3))[:-1] + b"!"
    stream.put([("a", kpl.MAGIC), ("b", broken), ("c", b"plain")])
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows
    assert [(row.partitionKey, bytes(row.data)) for row in rows] == [
        ("a", kpl.MAGIC),
        ("b", broken),
        ("c", b"plain"),
    ]


def skipped(query):
    """The number of aggregates that a query skipped, over all batches."""
    return sum(int(progress["sources"][0]["metrics"]["skippedAggregates"]) for progress in query.recentProgress)


AS_THE_KCL = {"aggregation.outsideShard": "SKIP"}


def drain_query(frame, checkpoint):
    """Reads the available records, and returns the query too."""
    batches = Batches()
    query = start(frame, batches, checkpoint, availableNow=True)
    with running(query):
        assert await_end(query, 120)
    return batches, query


def split_with_a_stale_producer(stream):
    """Splits a shard whose producer doesn't notice at first, and continues to aggregate the keys of both children.

    As the KPL does, it puts the records again of each aggregate that landed in a shard where not all of them belong.
    Returns the number of these aggregates.
    """
    stream.put([("outer", kpl.aggregate(events(0, 40)))])
    stream.split(stream.shards(open_only=True)[0]["ShardId"])
    for first in (40, 60):
        stream.put([("outer", kpl.aggregate(events(first, 20)))])
    for first in (40, 60):
        by_shard = {}
        for key, data in events(first, 20):
            by_shard.setdefault(stream.shard_of(key), []).append((key, data))
        assert len(by_shard) == 2
        stream.put([(records[0][0], kpl.aggregate(records)) for records in by_shard.values()])
    return 2


@both_consumers
def test_records_of_an_aggregate_that_landed_in_another_shard_come_once(spark, sandbox, stream, checkpoint):
    strays = split_with_a_stale_producer(stream)
    batches, query = drain_query(read(spark, source_options(sandbox, stream, **AS_THE_KCL)), checkpoint)
    assert sorted(batches.data) == payloads(events(0, 80))
    assert skipped(query) == strays


def test_they_come_too_unless_that_is_wanted(spark, sandbox, stream, checkpoint):
    split_with_a_stale_producer(stream)
    batches, query = drain_query(read(spark, source_options(sandbox, stream)), checkpoint)
    assert sorted(batches.data) == sorted(payloads(events(0, 80)) + payloads(events(40, 40)))
    assert skipped(query) == 0


def test_or_the_query_fails(spark, sandbox, stream, checkpoint):
    split_with_a_stale_producer(stream)
    frame = read(spark, source_options(sandbox, stream, **{"aggregation.outsideShard": "FAIL"}))
    with pytest.raises(Exception, match="is not its shard's.* kinesis.aggregation.outsideShard"):
        drain(frame, checkpoint)


@both_consumers
def test_the_batch_in_flight_at_a_restart_leaves_out_the_same(spark, sandbox, stream, checkpoint):
    """Spark repeats the batch before it plans another one."""
    split_with_a_stale_producer(stream)
    frame = read(spark, source_options(sandbox, stream, **AS_THE_KCL))
    seen = []

    def fail_with_children(frame, batch_id):
        rows = frame.collect()
        seen.append((batch_id, sorted(bytes(row.data) for row in rows)))
        if batch_id > 0:
            raise RuntimeError("crashed")

    with pytest.raises(Exception, match="crashed"):
        drain(frame, checkpoint, sink=fail_with_children)
    crashed, before = seen[-1]
    batches = drain(frame, checkpoint)
    assert before
    assert sorted(bytes(row.data) for row in batches.by_id[crashed]) == before
    rows = [data for batch_id, rows in seen if batch_id != crashed for data in rows]
    assert sorted([data.decode() for data in rows] + batches.data) == payloads(events(0, 80))


def test_a_batch_read_leaves_them_out_and_says_so(spark, sandbox, stream, driver_log):
    strays = split_with_a_stale_producer(stream)
    frame = spark.read.format("aws-kinesis").options(**source_options(sandbox, stream, **AS_THE_KCL)).load()
    before = driver_log.read_text().count("KPL aggregate(s) were left out")
    assert sorted(bytes(row.data).decode() for row in frame.select("data").collect()) == payloads(events(0, 80))
    said = [line for line in driver_log.read_text().splitlines() if "KPL aggregate(s) were left out" in line][before:]
    assert 1 <= len(said) <= strays
    assert all("shard takes" in line and "kinesis.aggregation.outsideShard" in line for line in said)


@both_consumers_at_length
def test_a_broken_aggregate_ends_the_query_or_is_skipped(spark, sandbox, stream, checkpoint):
    stream.put([("a", b"before"), ("b", kpl.broken_aggregate()), ("c", b"after")])
    with pytest.raises(Exception, match="can't be taken apart.*kinesis.aggregation.broken"):
        drain(read(spark, source_options(sandbox, stream)), checkpoint)
    batches, query = drain_query(read(spark, source_options(sandbox, stream, **{"aggregation.broken": "SKIP"})), checkpoint)
    assert batches.data == ["before", "after"]
    assert skipped(query) == 1


@both_consumers_at_length
def test_a_shard_of_nothing_but_skipped_aggregates_is_passed(spark, sandbox, stream, checkpoint):
    stream.put([("b", kpl.broken_aggregate())] * 3)
    frame = read(spark, source_options(sandbox, stream, **{"aggregation.broken": "SKIP"}))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        stream.put(events(0, 10))
        await_rows(query, batches, 10)
    assert batches.data == payloads(events(0, 10))
