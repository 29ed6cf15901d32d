"""The starting position of a new query."""

from datetime import datetime, timedelta, timezone

import pytest
from pyspark.errors import StreamingQueryException

from support.queries import (
    Batches,
    await_probes,
    await_rows,
    drain,
    events,
    payloads,
    read,
    running,
    source_options,
    start,
)


@pytest.mark.parametrize("position", ["TRIM_HORIZON", "EARLIEST", "trim_horizon"])
def test_from_the_oldest_record(spark, sandbox, new_stream, checkpoint, position):
    stream = new_stream(2)
    stream.put(events(0, 100))
    batches = drain(read(spark, source_options(sandbox, stream, startingPosition=position)), checkpoint)
    assert sorted(batches.data) == payloads(events(0, 100))


@pytest.mark.parametrize("offset_hours", [0, 2, -7])
def test_from_a_timestamp(spark, sandbox, knobs, new_stream, checkpoint, offset_hours):
    stream = new_stream(2)
    knobs(arrival_offset_ms=-3_600_000)
    stream.put(events(0, 50))
    knobs(arrival_offset_ms=0)
    stream.put(events(50, 50))

    zone = timezone(timedelta(hours=offset_hours))
    moment = (datetime.now(zone) - timedelta(minutes=30)).isoformat(timespec="seconds")
    options = source_options(sandbox, stream, startingPosition=f"AT_TIMESTAMP {moment}")
    assert sorted(drain(read(spark, options), checkpoint).data) == payloads(events(50, 50))


def test_a_timestamp_is_exact_to_the_millisecond(spark, sandbox, stream, checkpoint):
    for number in range(20):
        stream.put(events(number, 1))
    records = stream.read()
    first = records[10]["ApproximateArrivalTimestamp"].astimezone(timezone.utc)
    millis = round(first.timestamp() * 1000)
    text = datetime.fromtimestamp(millis // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{millis % 1000:03d}Z"
    wanted = [r["Data"].decode() for r in records if round(r["ApproximateArrivalTimestamp"].timestamp() * 1000) >= millis]
    batches = drain(read(spark, source_options(sandbox, stream, startingPosition=f"AT_TIMESTAMP {text}")), checkpoint)
    assert batches.data == wanted


def test_latest_is_the_moment_of_the_start(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 40))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream, startingPosition="LATEST")), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream)
        stream.put(events(40, 40))
        await_rows(query, batches, 40)
        await_probes(sandbox, query, stream, more=4)
    assert sorted(batches.data) == payloads(events(40, 40))


def test_latest_is_the_default(spark, sandbox, stream, checkpoint):
    stream.put(events(0, 10))
    options = source_options(sandbox, stream)
    del options["kinesis.startingPosition"]
    batches = Batches()
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream)
        stream.put(events(10, 10))
        await_rows(query, batches, 10)
    assert sorted(batches.data) == payloads(events(10, 10))


def test_latest_loses_nothing_of_a_shard_that_is_idle_at_first(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    busy, idle = (str(int(s["HashKeyRange"]["StartingHashKey"])) for s in stream.shards())

    def put(first, hash_key):
        stream.put([(key, data, hash_key) for key, data in events(first, 20)])

    batches = Batches()
    options = source_options(sandbox, stream, startingPosition="LATEST")
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream, more=2)
        put(0, busy)
        await_rows(query, batches, 20)
        put(20, busy)
        await_rows(query, batches, 40)
    # The idle shard's first records arrive while the query is down, after batches of only the busy shard.
    put(40, idle)
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        put(60, idle)
        await_rows(query, batches, 80)
    assert sorted(batches.data) == payloads(events(0, 80))


def test_latest_stays_the_first_start_when_there_was_no_batch_before_the_restart(
    spark, sandbox, new_stream, checkpoint
):
    stream = new_stream(2)
    stream.put(events(0, 10))
    batches = Batches()
    options = source_options(sandbox, stream, startingPosition="LATEST")
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        await_probes(sandbox, query, stream)
    assert batches.by_id == {}
    stream.put(events(10, 30))
    query = start(read(spark, options), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 30)
    assert sorted(batches.data) == payloads(events(10, 30))


def test_a_restart_goes_on_whatever_its_starting_position_says(spark, sandbox, stream, checkpoint, driver_log):
    stream.put(events(0, 10))
    batches = drain(read(spark, source_options(sandbox, stream)), checkpoint)
    stream.put(events(10, 10))
    drain(read(spark, source_options(sandbox, stream, startingPosition="LATEST")), checkpoint, batches)
    drain(read(spark, source_options(sandbox, stream, startingPosition="TRIM_HORIZON")), checkpoint, batches)
    assert batches.data == payloads(events(0, 20))
    # A starting position that differs from the original one causes a warning.
    warnings = [line for line in driver_log.read_text().splitlines() if " WARN " in line and stream.name in line]
    warning = "kinesis.startingPosition is LATEST, but the query of this checkpointLocation started at TRIM_HORIZON once"
    assert [warning in line for line in warnings if "kinesis.startingPosition" in line] == [True]


def test_a_start_in_the_future_is_refused_and_the_corrected_one_works(spark, sandbox, stream, checkpoint):
    stream.put(events(0, 10))
    soon = datetime.now(timezone.utc) + timedelta(hours=2)
    options = source_options(sandbox, stream, startingPosition=f"AT_TIMESTAMP {soon.isoformat(timespec='seconds')}")
    with pytest.raises(StreamingQueryException, match="kinesis.startingPosition is 7[12].. s in the future"):
        drain(read(spark, options), checkpoint)
    corrected = soon - timedelta(hours=4)
    options = source_options(sandbox, stream, startingPosition=f"AT_TIMESTAMP {corrected.isoformat(timespec='seconds')}")
    assert drain(read(spark, options), checkpoint).data == payloads(events(0, 10))
