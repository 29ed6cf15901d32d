"""Triggers: those that end, and those that wait."""

import pytest
from local_kinesis import await_condition

from support.consumers import both_consumers
from support.delivery import errors_of
from support.queries import (
    Batches,
    await_probes,
    await_rows,
    drain,
    events,
    payloads,
    planned_batches,
    read,
    running,
    source_options,
    start,
    texts_by_batch,
)

pytestmark = both_consumers


def test_available_now_reads_all_there_is_in_several_batches(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put([(f"key-{n}", data) for n, (_, data) in enumerate(events(0, 2000))])
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=300)), checkpoint)
    assert sorted(batches.data) == payloads(events(0, 2000))
    assert len(batches.by_id) >= 4
    assert max(len(rows) for rows in batches.by_id.values()) <= 600


def test_available_now_on_an_empty_stream_makes_no_batch(spark, sandbox, new_stream, checkpoint):
    batches = drain(read(spark, source_options(sandbox, new_stream(2))), checkpoint)
    assert batches.by_id == {}
    assert planned_batches(checkpoint) == []


def test_available_now_again_and_again(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    batches = Batches()
    frame = read(spark, source_options(sandbox, stream))
    for run in range(3):
        stream.put(events(100 * run, 100))
        drain(frame, checkpoint, batches)
        assert sorted(batches.data) == payloads(events(0, 100 * (run + 1)))
        settled = dict(batches.by_id)
        drain(frame, checkpoint, batches)
        assert batches.by_id == settled


def test_available_now_ends_while_records_keep_coming(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 500))
    batches = Batches()
    put = [500]

    def write(frame, batch_id):
        batches(frame, batch_id)
        stream.put(events(put[0], 50))
        put[0] += 50

    drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=100)), checkpoint, write)
    assert set(payloads(events(0, 500))) <= set(batches.data)
    drain(read(spark, source_options(sandbox, stream)), checkpoint, batches)
    assert sorted(batches.data) == payloads(events(0, put[0]))


def test_available_now_over_a_split(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(1)
    stream.put(events(0, 500))
    stream.split(stream.shards()[0]["ShardId"])
    stream.put(events(500, 500))
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=200)), checkpoint)
    assert sorted(batches.data) == payloads(events(0, 1000))


def test_available_now_after_a_crash_in_the_middle(spark, sandbox, new_stream, checkpoint):
    """Also across a split. The next start ends with the records that are available then."""
    stream = new_stream(1)
    stream.put(events(0, 200))
    stream.split(stream.shards()[0]["ShardId"])
    stream.put(events(200, 200))
    batches, failed = Batches(), Batches()

    def crash(frame, batch_id):
        if batch_id == len(batches.by_id) == crash_at:
            failed(frame, batch_id)
            raise ValueError("on purpose")
        batches(frame, batch_id)

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=60))
    # Crashes in the parent's last batch, and in a batch of its children.
    for run, crash_at in enumerate([3, 5]):
        with pytest.raises(Exception, match="on purpose"):
            drain(frame, checkpoint, crash)
        stream.put(events(400 + 50 * run, 50))
    drain(frame, checkpoint, batches)
    texts = texts_by_batch(batches)
    assert sorted(failed.by_id) == [3, 5]
    assert {batch_id: texts[batch_id] for batch_id in failed.by_id} == texts_by_batch(failed)
    assert errors_of(texts, 500) == {}


@pytest.mark.parametrize("next_trigger", ["availableNow", "default"])
def test_a_batch_of_available_now_comes_again_without_the_shards_that_were_done(
    spark, sandbox, new_stream, checkpoint, next_trigger
):
    """Its rows are the same although those shards have new records, since a sink that has written it may skip it."""
    stream = new_stream(2)
    small, large = (str(int(shard["HashKeyRange"]["StartingHashKey"])) for shard in stream.shards())

    def put(first, count, hash_key):
        stream.put([(key, data, hash_key) for key, data in events(first, count)])

    put(0, 10, small)
    put(10, 190, large)
    batches = Batches()

    def crash_after_the_third(frame, batch_id):
        batches(frame, batch_id)
        if batch_id == 2:
            raise ValueError("on purpose")

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=40))
    with pytest.raises(Exception, match="on purpose"):
        drain(frame, checkpoint, crash_after_the_third)
    written = texts_by_batch(batches)
    put(200, 50, small)

    def skip_what_was_written(frame, batch_id):
        rows = sorted(bytes(row.data).decode() for row in frame.collect())
        assert rows == written.setdefault(batch_id, rows)

    trigger = {} if next_trigger == "default" else {"availableNow": True}
    query = start(frame, skip_what_was_written, checkpoint, **trigger)
    with running(query):
        await_condition(
            lambda: sum(map(len, written.values())) >= 250 or not query.isActive,
            lambda: f"250 rows, {errors_of(written, 250)}",
        )
    assert errors_of(written, 250) == {}


@pytest.mark.filterwarnings("ignore")
def test_once_is_one_batch(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 300))
    batches = Batches()
    frame = read(spark, source_options(sandbox, stream))
    assert start(frame, batches, checkpoint, once=True).awaitTermination(60)
    assert sorted(batches.data) == payloads(events(0, 300))
    assert len(batches.by_id) == 1
    stream.put(events(300, 10))
    assert start(frame, batches, checkpoint, once=True).awaitTermination(60)
    assert sorted(batches.data) == payloads(events(0, 310))


def test_processing_time(spark, sandbox, new_stream, checkpoint):
    """Batches run while records arrive, and none on an idle stream."""
    stream = new_stream(2)
    frame, batches = read(spark, source_options(sandbox, stream)), Batches()
    for run in range(2):
        query = start(frame, batches, checkpoint, processingTime="300 milliseconds")
        with running(query):
            for first in range(150 * run, 150 * (run + 1), 50):
                stream.put(events(first, 50))
                await_rows(query, batches, first + 50)
            # One empty batch may follow a busy period. After that, the trigger fires repeatedly without a batch.
            await_probes(sandbox, query, stream, more=6)
            settled = planned_batches(checkpoint)
            await_probes(sandbox, query, stream, more=8)
            assert planned_batches(checkpoint) == settled
    assert errors_of(texts_by_batch(batches), 300) == {}
