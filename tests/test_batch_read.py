"""spark.read: the records between two positions."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from local_kinesis import await_condition
from pyspark.sql.functions import count, countDistinct
from support.producer import Producer
from support.queries import events, payloads, sink_options, source_options


def batch(spark, sandbox, stream, **options):
    # sink_options are source_options without a starting position.
    return spark.read.format("aws-kinesis").options(**sink_options(sandbox, stream, **options)).load()


def data(frame):
    return sorted(bytes(row.data).decode() for row in frame.select("data").collect())


def test_all_there_is(spark, sandbox, new_stream):
    stream = new_stream(2)
    stream.put(events(0, 500))
    frame = batch(spark, sandbox, stream)
    assert data(frame) == sorted(payloads(events(0, 500)))
    assert frame.columns == ["data", "streamName", "partitionKey", "sequenceNumber", "approximateArrivalTimestamp"]
    assert frame.count() == 500
    rows = frame.agg(count("*").alias("n"), countDistinct("sequenceNumber").alias("distinct")).collect()
    assert (rows[0].n, rows[0].distinct) == (500, 500)


def test_an_empty_stream_has_no_rows(spark, sandbox, stream):
    assert batch(spark, sandbox, stream).count() == 0


def test_over_a_split(spark, sandbox, new_stream):
    stream = new_stream(1)
    stream.put(events(0, 100))
    stream.split(stream.shards()[0]["ShardId"])
    stream.put(events(100, 100))
    assert data(batch(spark, sandbox, stream)) == sorted(payloads(events(0, 200)))


def next_millisecond():
    """Waits for the next millisecond of the clock that sets arrival times, and returns it in ISO-8601."""
    now = time.time_ns() // 1_000_000
    await_condition(lambda: time.time_ns() // 1_000_000 > now, "another millisecond", 10, 0.0005)
    return datetime.fromtimestamp((now + 1) / 1000, UTC).isoformat(timespec="milliseconds")


def test_from_one_time_to_another(spark, sandbox, stream):
    stream.put(events(0, 50))
    between = f"AT_TIMESTAMP {next_millisecond()}"
    stream.put(events(50, 50))
    assert data(batch(spark, sandbox, stream, endingPosition=between)) == sorted(payloads(events(0, 50)))
    assert data(batch(spark, sandbox, stream, startingPosition=between)) == sorted(payloads(events(50, 50)))


def test_a_count_is_stable_while_records_keep_coming(spark, sandbox, new_stream):
    stream = new_stream(2)
    stream.put(events(0, 20))
    first = f"AT_TIMESTAMP {next_millisecond()}"
    stream.put(events(20, 200))
    last = f"AT_TIMESTAMP {next_millisecond()}"
    # A page ends in the middle of the later records.
    options = {"startingPosition": first, "endingPosition": last, "getRecords.numberOfRecordsPerFetch": 30}
    frame = batch(spark, sandbox, stream, **options)
    for action in range(4):
        stream.put(events(220 + 50 * action, 50))
        assert frame.count() == 200
    # The same while records arrive during the read.
    with Producer(stream, first=420):
        for _ in range(3):
            assert data(frame) == sorted(payloads(events(20, 200)))


def test_a_limit_ends_early(spark, sandbox, new_stream):
    """A task that needs no more rows leaves the rest of its shard, and the tasks after it never start."""
    stream = new_stream(4)
    stream.put(events(0, 2000))
    # Small pages and little prefetching, so that few records are fetched beyond the needed rows.
    frame = batch(spark, sandbox, stream, **{"getRecords.numberOfRecordsPerFetch": 10, "prefetch.maxBytesPerShard": 1})

    def probes_of(rows, action):
        before = sandbox.probes(stream.name)
        assert len(action()) == rows
        return sandbox.probes(stream.name) - before

    whole = probes_of(2000, frame.collect)
    assert whole >= 200
    assert probes_of(3, frame.limit(3).collect) < whole / 4
    assert probes_of(3, lambda: frame.take(3)) < whole / 4


def test_a_start_at_latest_is_refused(spark, sandbox, stream):
    with pytest.raises(Exception, match="a batch read would read nothing"):
        batch(spark, sandbox, stream, startingPosition="LATEST").collect()


def test_an_end_is_refused_in_a_stream(spark, sandbox, stream, checkpoint):
    options = source_options(sandbox, stream, endingPosition="LATEST")
    query = spark.readStream.format("aws-kinesis").options(**options).load().writeStream.format("noop")
    with pytest.raises(Exception, match="kinesis.endingPosition"):
        query.option("checkpointLocation", str(checkpoint)).start().awaitTermination()


def test_an_end_in_the_future_is_refused(spark, sandbox, stream):
    end = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
    with pytest.raises(Exception, match="kinesis.endingPosition is 7[12].. s in the future"):
        batch(spark, sandbox, stream, endingPosition=f"AT_TIMESTAMP {end}").count()


def test_a_missing_stream(spark, sandbox):
    with pytest.raises(Exception, match="not-there"):
        batch(spark, sandbox, SimpleNamespace(name="not-there")).count()
