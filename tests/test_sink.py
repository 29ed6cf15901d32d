"""Streaming and batch writes."""

from collections import Counter

import pytest
from local_kinesis import Stream
from pyspark.sql.functions import col, expr

from support.queries import await_end, events, read, sink_options, source_options


def write(frame, options, mode="append", name="aws-kinesis"):
    frame.write.format(name).options(**options).mode(mode).save()


def rows_of(spark, count, partitions=3):
    return spark.range(0, count, 1, partitions).selectExpr("concat('key-', id % 50) AS partitionKey", "concat('row-', id) AS data")


def written(stream):
    return sorted((record["PartitionKey"], record["Data"]) for record in stream.read())


def rows_written(stream):
    return Counter(record["Data"].decode() for record in stream.read())


@pytest.mark.parametrize("name", ["aws-kinesis", "aws-kinesis-native"])
def test_batch_write(spark, sandbox, new_stream, name):
    stream = new_stream(2)
    write(rows_of(spark, 1700), sink_options(sandbox, stream), name=name)
    assert written(stream) == sorted((f"key-{n % 50}", f"row-{n}".encode()) for n in range(1700))


def test_strings_and_bytes(spark, sandbox, new_stream):
    rows = [("ключ", "données-データ-🔑"), ("k" * 256, ""), ("😀" * 256, "x" * 200_000)]
    texts, binaries = new_stream(1), new_stream(1)
    write(spark.createDataFrame(rows, "partitionKey string, data string").coalesce(1), sink_options(sandbox, texts))
    assert [(r["PartitionKey"], r["Data"].decode()) for r in texts.read()] == rows

    data = [("a", bytes(range(256))), ("a", b""), ("b", b"\0" * 1000), ("b", b"\xff\xfe")]
    frame = spark.createDataFrame([(key, bytearray(value)) for key, value in data], "partitionKey string, data binary")
    write(frame.coalesce(1), sink_options(sandbox, binaries))
    assert [(r["PartitionKey"], r["Data"]) for r in binaries.read()] == data


def test_columns_in_any_order_and_any_case_with_others_beside_them(spark, sandbox, stream):
    frame = spark.range(10).selectExpr("id", "concat('d', id) AS DATA", "current_date() AS day", "'k' AS partitionkey", "map(1, 2) AS m")
    write(frame, sink_options(sandbox, stream))
    assert rows_written(stream) == Counter(f"d{n}" for n in range(10))


def test_explicit_hash_key_decides_the_shard(spark, sandbox, new_stream):
    stream = new_stream(4)
    bounds = {shard["ShardId"]: shard["HashKeyRange"] for shard in stream.shards()}
    wanted = {}
    for shard, ends in bounds.items():
        wanted[f"first-{shard}"] = (ends["StartingHashKey"], shard)
        wanted[f"last-{shard}"] = (ends["EndingHashKey"], shard)
    wanted["by-key"] = (None, stream.shard_of("same-key"))
    frame = spark.createDataFrame(
        [("same-key", data, key) for data, (key, _) in wanted.items()],
        "partitionKey string, data string, explicitHashKey string",
    )
    write(frame, sink_options(sandbox, stream))
    assert {r["Data"].decode(): r["ShardId"] for r in stream.read()} == {d: shard for d, (_, shard) in wanted.items()}


def test_rows_name_their_streams(spark, sandbox, new_stream):
    own, other = new_stream(1), new_stream(2)
    frame = spark.range(0, 400, 1, 2).selectExpr(
        "'k' AS partitionKey", "concat('row-', id) AS data", f"if(id % 4 = 0, '{other.name}', null) AS streamName"
    )
    # kinesis.streamName takes precedence over the column, unless another option lists the streams that rows may name.
    plain = new_stream(1)
    write(frame, sink_options(sandbox, plain))
    assert rows_written(plain) == Counter(f"row-{n}" for n in range(400))

    options = sink_options(sandbox, own, **{"sink.allowedStreams": other.name})
    write(frame, options)
    assert rows_written(other) == Counter(f"row-{n}" for n in range(0, 400, 4))
    assert rows_written(own) == Counter(f"row-{n}" for n in range(400) if n % 4)

    elsewhere = frame.where("data = 'row-1'").withColumn("streamName", expr("'elsewhere'"))
    with pytest.raises(Exception, match="streamName names a stream that it may not"):
        write(elsewhere, options)


def test_order_of_a_partition_is_kept_within_a_key(spark, sandbox, new_stream):
    stream = new_stream(2)
    frame = spark.range(0, 3000, 1, 1).selectExpr("concat('key-', id % 7) AS partitionKey", "lpad(cast(id AS STRING), 6, '0') AS data")
    write(frame, sink_options(sandbox, stream, **{"sink.maxConnections": 1}))
    by_key = {}
    for record in stream.read():
        by_key.setdefault(record["PartitionKey"], []).append(record["Data"])
    assert sum(map(len, by_key.values())) == 3000
    for data in by_key.values():
        assert data == sorted(data)


@pytest.mark.parametrize(
    "fault",
    [
        {"entry_faults": [{"error": "throttle", "fraction": 0.3}, {"error": "internal", "fraction": 0.1}]},
        {"faults": [{"operation": "PutRecords", "error": "throttle", "count": 4}]},
        {"faults": [{"operation": "PutRecords", "error": "internal", "count": 4}]},
    ],
    ids=["entries", "throttled", "internal"],
)
def test_everything_arrives_once_when_the_service_refuses(spark, sandbox, knobs, new_stream, fault):
    stream = new_stream(2)
    knobs(**fault)
    write(rows_of(spark, 2000), sink_options(sandbox, stream, clientRetryIntervalsMs=10, clientNumRetries=10))
    assert rows_written(stream) == Counter(f"row-{n}" for n in range(2000))


def test_everything_arrives_when_connections_break(spark, sandbox, knobs, new_stream):
    """Delivery is at least once, since a request without a response may have been accepted."""
    stream = new_stream(2)
    knobs(faults=[{"operation": "PutRecords", "error": "drop", "count": 3}])
    write(rows_of(spark, 2000), sink_options(sandbox, stream, clientRetryIntervalsMs=10))
    assert set(rows_written(stream)) == {f"row-{n}" for n in range(2000)}


def test_everything_arrives_at_a_shards_limits(spark, sandbox, knobs, new_stream):
    """Small limits, which accept part of each request."""
    stream = new_stream(2)
    knobs(shard_limits=True)
    write(rows_of(spark, 3000), sink_options(sandbox, stream, clientRetryIntervalsMs=50, clientNumRetries=50))
    assert rows_written(stream) == Counter(f"row-{n}" for n in range(3000))


def test_a_put_that_never_succeeds_fails_the_write(spark, sandbox, knobs, new_stream):
    stream = new_stream(1)
    knobs(entry_faults=[{"error": "throttle", "fraction": 1.0}])
    with pytest.raises(Exception) as failure:
        write(rows_of(spark, 10, 1), sink_options(sandbox, stream, clientRetryIntervalsMs=1, clientNumRetries=0))
    message = str(failure.value)
    assert "10 of 10 records of a PutRecords request were not accepted" in message
    assert "ProvisionedThroughputExceededException" in message
    assert "raise kinesis.clientNumRetries" in message


def test_a_stream_that_is_being_created_is_waited_for(spark, sandbox, knobs):
    """The job that follows the stream's creation in a pipeline. The service finds no such stream in the meantime."""
    knobs(transition_ms=8_000)
    try:
        sandbox.client.create_stream(StreamName="being-created", ShardCount=1)
        stream = Stream(sandbox.client, "being-created")
        write(rows_of(spark, 10, 1), sink_options(sandbox, stream))
        assert rows_written(stream) == Counter(f"row-{n}" for n in range(10))
    finally:
        knobs(transition_ms=0)
        sandbox.client.delete_stream(StreamName="being-created")


def test_requests_are_filled(spark, sandbox, new_stream):
    """A request has 500 records, not one."""
    stream = new_stream(2)
    before = sandbox.calls("PutRecords")
    write(rows_of(spark, 5000, 1), sink_options(sandbox, stream))
    assert len(stream.read()) == 5000
    assert sandbox.calls("PutRecords") - before <= 14


def test_an_empty_frame_is_no_request(spark, sandbox, stream):
    before = sandbox.calls("PutRecords")
    write(rows_of(spark, 0), sink_options(sandbox, stream))
    assert sandbox.calls("PutRecords") == before


@pytest.mark.parametrize("mode", ["overwrite", "error", "ignore"])
def test_a_batch_write_appends_only(spark, sandbox, stream, mode):
    with pytest.raises(Exception) as failure:
        write(rows_of(spark, 5), sink_options(sandbox, stream), mode=mode)
    assert mode in str(failure.value).lower() or "truncate" in str(failure.value).lower()
    assert stream.read() == []


@pytest.mark.parametrize("mode", ["append", "update", "complete"])
def test_output_modes(spark, sandbox, new_stream, checkpoint, mode):
    """As with Kafka's sink, every mode appends the batch's result rows as further records."""
    source, sink = new_stream(1), new_stream(1)
    frame = read(spark, source_options(sandbox, source)).selectExpr("partitionKey", "CAST(data AS STRING) AS data")
    if mode != "append":
        frame = frame.groupBy("partitionKey").count().select("partitionKey", col("count").cast("string").alias("data"))

    def run():
        query = (
            frame.writeStream.format("aws-kinesis").options(**sink_options(sandbox, sink)).outputMode(mode)
            .option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
        )
        assert await_end(query)

    source.put([("a", b"1"), ("a", b"2"), ("b", b"3")])
    run()
    source.put([("a", b"4")])
    run()
    expected = {
        "append": [("a", b"1"), ("a", b"2"), ("a", b"4"), ("b", b"3")],
        "update": [("a", b"2"), ("a", b"3"), ("b", b"1")],
        "complete": [("a", b"2"), ("a", b"3"), ("b", b"1"), ("b", b"1")],
    }
    assert written(sink) == expected[mode]


def test_streaming_write_of_many_batches(spark, sandbox, new_stream, checkpoint):
    source, sink = new_stream(2), new_stream(2)
    source.put(events(0, 3000))
    query = (
        read(spark, source_options(sandbox, source, maxFetchRecordsPerShard=400))
        .select("partitionKey", "data", expr("1 AS ignored"))
        .writeStream.format("aws-kinesis").options(**sink_options(sandbox, sink))
        .option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    )
    assert await_end(query)
    assert written(sink) == sorted(events(0, 3000))
