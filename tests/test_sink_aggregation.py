"""Writes of KPL aggregates, their order, and a write's metrics."""

from collections import Counter

import pytest
from local_kinesis import await_condition

from support.queries import drain, events, read, sink_options, source_options, sql_metrics


def write(frame, options):
    frame.write.format("aws-kinesis").options(**options).mode("append").save()


def rows_of(spark, first, count, partitions=2):
    return spark.range(first, first + count, 1, partitions).selectExpr(
        "concat('key-', id % 50) AS partitionKey", "concat('row-', id) AS data"
    )


def test_aggregates_come_back_once_over_a_split(spark, sandbox, new_stream, checkpoint):
    """The sink repeats aggregates that arrived in a child of their shard. The source skips those, as the KCL does."""
    stream = new_stream(1)
    options = sink_options(sandbox, stream, **{"sink.aggregationEnabled": "true"})
    write(rows_of(spark, 0, 1000), options)
    stream.split(stream.shards()[0]["ShardId"])
    write(rows_of(spark, 1000, 1000), options)
    assert len(stream.read()) < 100
    frame = read(spark, source_options(sandbox, stream, **{"aggregation.outsideShard": "SKIP"}))
    batches = drain(frame, checkpoint)
    assert Counter(batches.data) == Counter(f"row-{n}" for n in range(2000))


def test_order_of_a_key_is_kept_through_retries(spark, sandbox, knobs, new_stream):
    stream = new_stream(2)
    knobs(entry_faults=[{"error": "throttle", "fraction": 0.05}])
    frame = spark.range(0, 2000, 1, 1).selectExpr("concat('key-', id % 40) AS partitionKey", "lpad(cast(id AS STRING), 6, '0') AS data")
    write(frame, sink_options(sandbox, stream, clientRetryIntervalsMs=5, **{"sink.ordering": "key"}))
    by_key = {}
    for record in stream.read():
        by_key.setdefault(record["PartitionKey"], []).append(record["Data"])
    assert sum(map(len, by_key.values())) == 2000
    assert all(data == sorted(data) for data in by_key.values())


def test_rows_without_a_key_where_the_service_distributes_them(spark, sandbox, knobs, new_stream):
    stream = new_stream(2)
    frame = spark.range(0, 10, 1, 1).selectExpr("concat('row-', id) AS data")
    with pytest.raises(Exception, match="no column partitionKey"):
        write(frame, sink_options(sandbox, stream))
    knobs(auto_distribution=True)
    # Facts about a stream are cached for ten minutes.
    stream = new_stream(2)
    write(frame, sink_options(sandbox, stream))
    assert sorted(record["Data"] for record in stream.read()) == [f"row-{n}".encode() for n in range(10)]


def test_a_missing_stream_is_reported_before_the_first_row(spark, sandbox, new_stream):
    options = sink_options(sandbox, new_stream(1))
    options["kinesis.streamName"] = "nowhere"
    with pytest.raises(Exception, match="nowhere"):
        write(rows_of(spark, 0, 0), options)


def test_progress_of_the_sink(spark, sandbox, knobs, new_stream, checkpoint):
    source, sink = new_stream(2), new_stream(1)
    source.put(events(0, 600))
    knobs(entry_faults=[{"error": "throttle", "count": 3}])
    options = sink_options(sandbox, sink, clientRetryIntervalsMs=5, **{"sink.aggregationEnabled": "true"})
    query = (
        read(spark, source_options(sandbox, source)).select("partitionKey", "data")
        .writeStream.format("aws-kinesis").options(**options)
        .option("checkpointLocation", str(checkpoint)).start()
    )
    try:
        await_condition(lambda: any(progress["sink"].get("metrics") for progress in query.recentProgress), "the sink's metrics")
        metrics = next(progress["sink"]["metrics"] for progress in query.recentProgress if progress["sink"].get("metrics"))
    finally:
        query.stop()
    assert int(metrics["records"]) == 600
    assert 0 < int(metrics["kinesisRecords"]) < 20
    assert int(metrics["bytes"]) == sum(len(record["Data"]) for record in sink.read())
    assert int(metrics["retries"]) == int(metrics["throttles"]) == 3
    assert int(metrics["requests"]) >= 2
    assert int(metrics["putMillisP50"]) <= int(metrics["putMillisP99"])
    assert int(metrics["maxBufferedBytes"]) > 0
    assert int(metrics["waitMillis"]) >= 0


def test_metrics_in_the_sql_tab(spark, sandbox, new_stream):
    write(rows_of(spark, 0, 5000, 1), sink_options(sandbox, new_stream(1)))
    metrics = sql_metrics(spark, "Kinesis rows accepted")[-1]
    accepted = int(metrics["Kinesis rows accepted"].replace(",", ""))
    # Spark 3.5 doesn't read the metrics again after the last row.
    assert accepted <= 5000 if spark.version.startswith("3.") else accepted == 5000
    assert int(metrics["Kinesis put requests"]) >= accepted // 500
