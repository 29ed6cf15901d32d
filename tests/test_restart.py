"""Stops, restarts and actions: no records are lost, and none repeated in a sink that overwrites by batch."""

import shutil

import pytest
from local_kinesis import await_condition

from support.consumers import both_consumers
from support.producer import Producer
from support.queries import (
    Batches,
    await_probes,
    await_end,
    await_rows,
    drain,
    events,
    payloads,
    raise_failure,
    read,
    running,
    source_options,
    start,
)

pytestmark = both_consumers


def test_stop_and_restart(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=50))
    batches = Batches()
    with Producer(stream) as producer:
        for run in range(1, 4):
            query = start(frame, batches, checkpoint)
            with running(query):
                await_rows(query, batches, 300 * run)
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, producer.count)
        await_probes(sandbox, query, stream, more=4)
    assert sorted(batches.data) == payloads(events(0, producer.count))


def test_two_actions_see_the_same_rows(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 200))
    seen = []

    def twice(frame, batch_id):
        first = sorted(bytes(row.data) for row in frame.collect())
        # Records that arrive between the actions belong to the next batch.
        if len(seen) < 3:
            stream.put(events(200 + 50 * len(seen), 50))
        second = sorted(bytes(row.data) for row in frame.collect())
        seen.append((first, second, frame.count()))

    query = start(read(spark, source_options(sandbox, stream)), twice, checkpoint)
    with running(query):
        await_while_active(query, lambda: sum(len(first) for first, _, _ in seen) >= 350, "350 rows")
    for first, second, count in seen:
        assert first == second
        assert count == len(first)
    assert sorted(data.decode() for first, _, _ in seen for data in first) == payloads(events(0, 350))


def await_while_active(query, condition, what):
    await_condition(lambda: condition() or not query.isActive, what)
    raise_failure(query)


@pytest.mark.parametrize("first_action", ["take", "isEmpty", "limit"])
def test_an_action_that_needs_few_rows_takes_none_from_the_next(spark, sandbox, new_stream, checkpoint, first_action):
    stream = new_stream(2)
    stream.put(events(0, 500))
    batches = Batches()

    def peek_then_write(frame, batch_id):
        if first_action == "take":
            assert len(frame.take(1)) == 1
        elif first_action == "isEmpty":
            assert not frame.rdd.isEmpty()
        else:
            assert frame.limit(3).count() == 3
        batches(frame, batch_id)

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=60))
    drain(frame, checkpoint, peek_then_write)
    assert sorted(batches.data) == payloads(events(0, 500))
    assert len(batches.by_id) > 1


def test_a_batch_of_which_only_some_rows_were_taken_is_over(spark, sandbox, new_stream, checkpoint):
    """After write and take(1), the next batch begins after the whole batch, not after the row taken."""
    stream = new_stream(1)
    stream.put(events(0, 100))
    batches = Batches()

    def write_then_peek(frame, batch_id):
        batches(frame, batch_id)
        frame.take(1)

    drain(read(spark, source_options(sandbox, stream)), checkpoint, write_then_peek)
    stream.put(events(100, 20))
    drain(read(spark, source_options(sandbox, stream)), checkpoint, write_then_peek)
    assert batches.data == payloads(events(0, 120))


def test_batches_without_an_action_lose_nothing(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 50))
    ignored = []
    frame = read(spark, source_options(sandbox, stream))
    query = start(frame, lambda batch, batch_id: ignored.append(batch_id), checkpoint)
    with running(query):
        await_while_active(query, lambda: len(ignored) >= 3, "three batches")
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        stream.put(events(50, 50))
        await_rows(query, batches, 100)
    assert sorted(batches.data) == payloads(events(0, 100))


def test_a_failing_batch_is_delivered_again_the_same(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 100))
    failed = []

    def fail(frame, batch_id):
        failed.append((batch_id, sorted(bytes(row.data) for row in frame.collect())))
        raise ValueError("on purpose")

    frame = read(spark, source_options(sandbox, stream))
    query = start(frame, fail, checkpoint)
    with pytest.raises(Exception, match="on purpose"):
        await_end(query)
    stream.put(events(100, 50))

    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 150)
    (batch_id, rows), = failed
    assert sorted(bytes(row.data) for row in batches.by_id[batch_id]) == rows
    assert sorted(batches.data) == payloads(events(0, 150))


def test_claims_in_a_folder_of_ones_own(spark, sandbox, stream, checkpoint, tmp_path):
    stream.put(events(0, 30))
    metadata = tmp_path / "metadata"
    options = source_options(sandbox, stream, metadataPath=metadata.as_uri())
    batches = drain(read(spark, options), checkpoint)
    stream.put(events(30, 30))
    drain(read(spark, options), checkpoint, batches)
    assert batches.data == payloads(events(0, 60))
    assert [file for file in metadata.rglob("*") if file.is_file()] != []
    assert not (checkpoint / "sources/0/claims").exists()


def test_a_checkpoint_that_was_moved(spark, sandbox, stream, checkpoint, tmp_path):
    stream.put(events(0, 30))
    frame = read(spark, source_options(sandbox, stream))
    batches = drain(frame, checkpoint)
    moved = tmp_path / "moved"
    shutil.move(checkpoint, moved)
    stream.put(events(30, 30))
    drain(frame, moved, batches)
    assert batches.data == payloads(events(0, 60))
