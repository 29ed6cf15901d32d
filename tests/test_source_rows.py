"""The schema, and the values of the columns."""

from pyspark.sql.types import BinaryType, StringType, StructField, StructType, TimestampType

from support.queries import Batches, await_end, drain, read, source_options

SCHEMA = StructType(
    [
        StructField("data", BinaryType()),
        StructField("streamName", StringType()),
        StructField("partitionKey", StringType()),
        StructField("sequenceNumber", StringType()),
        StructField("approximateArrivalTimestamp", TimestampType()),
    ]
)

ODD = [
    ("empty", b""),
    ("all-bytes", bytes(range(256))),
    ("zeros", b"\0" * 1000),
    ("ключ-鍵-🔑", "données".encode()),
    ("k" * 256, b"longest key"),
    ("ascii", b"x" * 100_000),
]


def with_micros(frame):
    return frame.selectExpr("*", "unix_micros(approximateArrivalTimestamp) AS micros")


def test_schema(spark, sandbox, stream):
    frame = read(spark, source_options(sandbox, stream))
    assert frame.isStreaming
    assert frame.schema == SCHEMA


def test_every_column_is_what_the_service_says(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(3)
    stream.put(ODD + [(f"key-{n}", str(n).encode()) for n in range(500)])
    by_number = {record["SequenceNumber"]: record for record in stream.read()}
    assert len(by_number) == len(ODD) + 500

    rows = drain(with_micros(read(spark, source_options(sandbox, stream))), checkpoint).rows

    assert sorted(row.sequenceNumber for row in rows) == sorted(by_number)
    for row in rows:
        record = by_number[row.sequenceNumber]
        assert bytes(row.data) == record["Data"]
        assert row.streamName == stream.name
        assert row.partitionKey == record["PartitionKey"]
        assert row.micros == round(record["ApproximateArrivalTimestamp"].timestamp() * 1000) * 1000

    in_cbor = source_options(sandbox, stream, protocol="cbor", consumerType="GetRecords")
    batch = with_micros(spark.read.format("aws-kinesis").options(**in_cbor).load())
    assert sorted(batch.collect()) == sorted(rows)


def test_a_record_without_a_partition_key(spark, sandbox, stream, knobs, checkpoint):
    knobs(auto_distribution=True)
    stream.put([("a", b"1"), ("", b"2"), ("c", b"3")])
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows
    assert [(bytes(row.data), row.partitionKey) for row in rows] == [(b"1", "a"), (b"2", None), (b"3", "c")]


def test_the_largest_record(spark, sandbox, stream, checkpoint):
    data = bytes(n % 251 for n in range(1024 * 1024 - 1))
    stream.put([("a", b"before"), ("k", data), ("a", b"after")])
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows
    assert [bytes(row.data) for row in rows] == [b"before", data, b"after"]


def test_rows_after_a_record_with_empty_data_are_delivered(spark, sandbox, stream, checkpoint):
    stream.put([("a", b"1"), ("a", b""), ("a", b"2"), ("a", b""), ("a", b"3")])
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows
    assert [bytes(row.data) for row in rows] == [b"1", b"", b"2", b"", b"3"]


def test_a_query_may_read_some_of_the_columns(spark, sandbox, stream, checkpoint, tmp_path):
    stream.put([("a", b"1"), ("b", b"2")])
    source = read(spark, source_options(sandbox, stream))
    keys = drain(source.select("partitionKey"), checkpoint).rows
    assert [row.partitionKey for row in keys] == ["a", "b"]

    counts = Batches()
    drain(source, tmp_path / "other", lambda frame, batch_id: counts.by_id.update({batch_id: [frame.count()]}))
    assert sum(counts.rows) == 2


def test_rows_stay_right_through_sort_join_cache_and_state(spark, sandbox, new_stream, checkpoint, tmp_path):
    """Rows are read in place, from memory that the next batch reuses, so operators must copy to keep them."""
    stream = new_stream(2)
    records = [(f"key-{n % 50}", f"{n:05d}-{'x' * (n % 700)}".encode()) for n in range(6000)]
    stream.put(records)
    expected = sorted(data for _, data in records)
    found = {}

    def use(frame, batch_id):
        frame = frame.withColumn("text", frame.data.cast("string"))
        cached = frame.cache()
        by_key = cached.groupBy("partitionKey").count()
        joined = frame.join(by_key, "partitionKey").orderBy("text").select("text", "count").collect()
        found.setdefault("sorted", []).extend(row.text.encode() for row in joined)
        found.setdefault("counts", []).extend(row["count"] for row in joined)
        found.setdefault("cached", []).extend(bytes(row.data) for row in cached.select("data").collect())
        cached.unpersist()

    source = read(spark, source_options(sandbox, stream, **{"getRecords.numberOfRecordsPerFetch": 100}))
    drain(source, checkpoint, use)
    assert found["sorted"] == expected
    assert sorted(found["cached"]) == expected
    assert set(found["counts"]) == {120}

    state = Batches()
    counted = source.groupBy("partitionKey").count()
    query = (
        counted.writeStream.outputMode("complete").foreachBatch(state)
        .option("checkpointLocation", str(tmp_path / "state")).trigger(availableNow=True).start()
    )
    assert await_end(query)
    assert {row.partitionKey: row["count"] for row in state.by_id[max(state.by_id)]} == {
        f"key-{n}": 120 for n in range(50)
    }
