"""kinesis.extraColumns: the columns that complete a row's identity."""

import pytest
from pyspark.sql.types import LongType, StringType
from support import kpl
from support.queries import Batches, await_rows, drain, events, read, running, source_options, start

ALL = "shardId,subSequenceNumber,explicitHashKey,encryptionType"
USUAL = ["data", "streamName", "partitionKey", "sequenceNumber", "approximateArrivalTimestamp"]


def batch(spark, options):
    return spark.read.format("aws-kinesis").options(**options).load()


def test_columns_and_types_in_the_order_given(spark, sandbox, stream):
    options = source_options(sandbox, stream, EXTRACOLUMNS="encryptionType, SUBSEQUENCENUMBER,shardid")
    for frame in (read(spark, options), batch(spark, options)):
        assert frame.columns == [*USUAL, "encryptionType", "subSequenceNumber", "shardId"]
        assert [field.dataType for field in frame.schema.fields[5:]] == [StringType(), LongType(), StringType()]
    for wrong in ("shardId,shardid", "colour", "shardId,"):
        with pytest.raises(Exception, match="kinesis.extraColumns"):
            read(spark, source_options(sandbox, stream, extraColumns=wrong))


def put_plain_and_aggregated(stream):
    """Puts about 60 rows over all shards, and returns the expected rows by data."""
    hash_key = kpl.hash_key
    expected = {}
    for number in range(20):
        key = f"key-{number}"
        users = [(f"u-{number}-0", key, None), (f"u-{number}-1", key, str(hash_key(key))), (f"u-{number}-2", key, None)]
        if number % 2:
            stream.put([(key, f"plain-{number}".encode())])
            expected[f"plain-{number}"] = (stream.shard_of(key), 0, None)
        stream.put([(key, kpl.aggregate([(key, data.encode(), explicit) for data, key, explicit in users]))])
        for place, (data, key, explicit) in enumerate(users):
            expected[data] = (stream.shard_of(key), place, explicit)
    return expected


def columns_by_data(rows):
    return {
        bytes(row.data).decode(): (row.shardId, row.subSequenceNumber, row.explicitHashKey) for row in rows
    }


def test_a_stream_s_rows(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(3)
    expected = put_plain_and_aggregated(stream)
    frame = read(spark, source_options(sandbox, stream, extraColumns=ALL, maxFetchRecordsPerShard=7))
    rows = drain(frame, checkpoint).rows
    assert columns_by_data(rows) == expected
    assert len({(row.shardId, row.sequenceNumber, row.subSequenceNumber) for row in rows}) == len(rows) == len(expected)
    assert {row.encryptionType for row in rows} == {"NONE"}


def test_a_batch_read_s_rows(spark, sandbox, new_stream):
    stream = new_stream(2)
    expected = put_plain_and_aggregated(stream)
    frame = batch(spark, source_options(sandbox, stream, extraColumns=ALL))
    assert columns_by_data(frame.collect()) == expected
    # Through Spark's own operators, and with pruned columns.
    by_shard = {row.shardId: row["count"] for row in frame.groupBy("shardId").count().collect()}
    shards = [shard for shard, _, _ in expected.values()]
    assert by_shard == {shard: shards.count(shard) for shard in set(shards)}
    explicit = frame.where("explicitHashKey is not null").select("subSequenceNumber", "explicitHashKey").collect()
    assert sorted(row.explicitHashKey for row in explicit) == sorted(kept for _, _, kept in expected.values() if kept)
    assert {row.subSequenceNumber for row in explicit} == {1}
    assert frame.where("explicitHashKey is null").count() == len(expected) - len(explicit)
    ordered = frame.orderBy("shardId", "sequenceNumber", "subSequenceNumber").select("data").collect()
    assert len(ordered) == len(expected)


def test_shards_before_and_after_a_split_while_running(spark, sandbox, stream, checkpoint):
    frame = read(spark, source_options(sandbox, stream, extraColumns="shardId", describeShardInterval="100ms"))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        stream.put(events(0, 50))
        await_rows(query, batches, 50)
        stream.split(stream.shards(open_only=True)[0]["ShardId"])
        stream.put(events(50, 50))
        await_rows(query, batches, 100)
    parent, *children = (shard["ShardId"] for shard in stream.shards())
    assert {row.shardId for row in batches.rows[:50]} == {parent}
    assert {row.shardId for row in batches.rows[50:]} == set(children)
    for row in batches.rows[50:]:
        assert row.shardId == stream.shard_of(row.partitionKey)


def test_with_overwritten_memory(spark, sandbox, stream, checkpoint):
    """Poison mode would expose code that keeps a row's memory too long."""
    properties = spark._jvm.java.lang.System
    properties.setProperty("SPARKKINESIS_POISON", "1")
    try:
        expected = put_plain_and_aggregated(stream)
        frame = read(spark, source_options(sandbox, stream, extraColumns=ALL, maxFetchRecordsPerShard=11))
        assert columns_by_data(drain(frame, checkpoint).rows) == expected
    finally:
        properties.clearProperty("SPARKKINESIS_POISON")
