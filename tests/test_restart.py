"""Stop, kill, restart, and actions of all kinds: nothing lost, and nothing repeated into a sink that overwrites by batch."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from local_kinesis import await_condition

from support.processes import Job
from support.producer import Producer
from support.queries import (
    Batches,
    await_looks,
    await_rows,
    committed_batches,
    drain,
    events,
    payloads,
    planned_batches,
    raise_failure,
    read,
    running,
    source_options,
    start,
)


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
        await_looks(sandbox, query, stream, more=4)
    assert sorted(batches.data) == payloads(events(0, producer.count))


@pytest.mark.slow
def test_kill_9_and_restart(sandbox, new_stream, checkpoint, tmp_path):
    stream = new_stream(2)
    output = tmp_path / "output"
    arguments = {
        "options": source_options(sandbox, stream, maxFetchRecordsPerShard=200),
        "checkpoint": str(checkpoint),
        "output": str(output),
    }

    def claims(batch):
        return list((checkpoint / "sources/0/claims").glob(f"*/{batch}/*"))

    def in_flight(written):
        """The batch that was planned and isn't committed, once as much of it was done as the kill is to interrupt."""
        done = committed_batches(checkpoint)
        open_batches = [n for n in planned_batches(checkpoint) if n not in done]
        return open_batches and len(done) > minimum and written(open_batches[-1])

    moments = [
        ("planned", lambda batch: True),
        ("claimed", lambda batch: claims(batch)),
        ("written", lambda batch: (output / f"batch={batch}").exists()),
    ]
    with Producer(stream) as producer:
        for name, moment in moments:
            minimum = len(committed_batches(checkpoint)) + 2
            with Job("overwrite_by_batch", arguments, tmp_path / "job.log") as job:
                job.await_condition(lambda: in_flight(moment), f"a batch being {name}", interval=0.01)
                job.kill()
    with Job("overwrite_by_batch", arguments, tmp_path / "job.log") as job:
        job.await_condition(
            lambda: len(delivered(output)) >= producer.count,
            lambda: f"{producer.count} records, has {len(delivered(output))}",
        )
        # One more batch: the last one is complete then.
        stream.put(events(producer.count, 1))
        job.await_condition(lambda: len(delivered(output)) > producer.count, "a further record")
        job.kill()
    counted = Counter(delivered(output))
    assert sorted(counted) == payloads(events(0, producer.count + 1))
    assert {text: n for text, n in counted.items() if n > 1} == {}


def delivered(output: Path):
    """The payloads in all batches that were written to their end."""
    texts = []
    for folder in output.glob("batch=*"):
        if (folder / "_SUCCESS").exists():
            for part in folder.glob("part-*"):
                try:
                    texts += part.read_text().splitlines()
                except FileNotFoundError:
                    pass  # just being overwritten
    return texts


def test_two_actions_see_the_same_rows(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 200))
    seen = []

    def twice(frame, batch_id):
        first = sorted(bytes(row.data) for row in frame.collect())
        # What arrives between the actions belongs to the next batch.
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
    """write, then take(1): the next batch begins behind the whole batch, not behind the row taken."""
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
        query.awaitTermination(60)
    stream.put(events(100, 50))

    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 150)
    (batch_id, rows), = failed
    assert sorted(bytes(row.data) for row in batches.by_id[batch_id]) == rows
    assert sorted(batches.data) == payloads(events(0, 150))


def test_a_query_goes_on_when_its_claims_are_gone(spark, sandbox, new_stream, checkpoint, driver_log):
    stream = new_stream(2)
    stream.put(events(0, 100))
    batches = Batches()
    frame = read(spark, source_options(sandbox, stream))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 100)
        # A batch that isn't committed is read anew, which needs no claim of it.
        await_while_active(query, lambda: committed_batches(checkpoint) == planned_batches(checkpoint), "the commit")
    claims = checkpoint / "sources/0/claims"
    assert [file for file in claims.rglob("*") if file.is_file()] != []
    shutil.rmtree(claims)
    logged = driver_log.stat().st_size

    stream.put(events(100, 50))
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 150)
        await_while_active(query, lambda: set(payloads(events(100, 50))) <= set(batches.data), "the new rows")
    # Delivered again, perhaps: but all of it, and with a word about it.
    assert sorted(set(batches.data)) == payloads(events(0, 150))
    with open(driver_log) as log:
        log.seek(logged)
        assert "its records may be delivered again" in log.read()


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


def test_queries_share_a_stream_and_a_metadata_folder(spark, sandbox, new_stream, tmp_path):
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream, metadataPath=(tmp_path / "shared").as_uri()))
    sinks = [Batches(), Batches()]
    queries = [start(frame, sink, tmp_path / f"checkpoint-{n}") for n, sink in enumerate(sinks)]
    with running(queries[0]), running(queries[1]):
        for first in range(0, 150, 50):
            stream.put(events(first, 50))
            for query, sink in zip(queries, sinks):
                await_rows(query, sink, first + 50)
    for sink in sinks:
        assert sorted(sink.data) == payloads(events(0, 150))
