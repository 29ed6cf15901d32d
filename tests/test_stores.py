"""Claims in each of the stores: every read of a batch returns the same rows."""

import pytest

from support.delivery import errors_of
from support.queries import (
    Batches,
    drain,
    events,
    forget_commit,
    read,
    source_options,
    start,
    texts_by_batch,
)


def assert_claims_are_here_only(store, checkpoint, batches):
    """Asserts that every delivered batch is claimed in this store, and in no other place."""
    # A source's batch 0 is its starting position, so Spark's batch 0 is its number 1.
    assert {batch for _, batch, _ in store.claims()} == {batch_id + 1 for batch_id in batches}
    assert not (checkpoint / "sources/0/claims").exists()


def test_several_actions_in_several_batches(spark, sandbox, new_stream, checkpoint, store):
    stream = new_stream(2)
    stream.put(events(0, 300))
    put, counts, batches = [300], {}, Batches()

    def peek_count_then_write(frame, batch_id):
        assert len(frame.take(1)) == 1
        # Records that arrive between the actions belong to the next batch.
        stream.put(events(put[0], 20))
        put[0] += 20
        counts[batch_id] = frame.count()
        batches(frame, batch_id)

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=50, **store.options))
    drain(frame, checkpoint, peek_count_then_write)
    assert len(batches.by_id) >= 3
    assert counts == {batch_id: len(rows) for batch_id, rows in batches.by_id.items()}
    assert_claims_are_here_only(store, checkpoint, batches.by_id)

    drain(frame, checkpoint, batches)
    assert errors_of(texts_by_batch(batches), put[0]) == {}


def test_a_restart_in_the_middle_of_a_batch(spark, sandbox, new_stream, checkpoint, store):
    """The batch is repeated as claimed, although the limit is lower and more records are available."""
    stream = new_stream(2)
    stream.put(events(0, 100))
    batches, failed = Batches(), Batches()

    def fail_in_the_second(frame, batch_id):
        if batch_id == 0:
            batches(frame, batch_id)
            return
        failed(frame, batch_id)
        raise ValueError("on purpose")

    limited = source_options(sandbox, stream, maxFetchRecordsPerShard=40, **store.options)
    query = start(read(spark, limited), fail_in_the_second, checkpoint)
    with pytest.raises(Exception, match="on purpose"):
        query.awaitTermination(120)
    stream.put(events(100, 100))

    lower = source_options(sandbox, stream, maxFetchRecordsPerShard=7, **store.options)
    drain(read(spark, lower), checkpoint, batches)
    assert texts_by_batch(batches)[1] == texts_by_batch(failed)[1]
    assert max(len(rows) for batch_id, rows in batches.by_id.items() if batch_id > 1) <= 2 * 7 < len(batches.by_id[1])
    assert errors_of(texts_by_batch(batches), 200) == {}


def test_a_restart_between_the_batchs_end_and_its_commit(spark, sandbox, new_stream, checkpoint, store):
    stream = new_stream(2)
    stream.put(events(0, 100))
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=30, **store.options))
    first = drain(frame, checkpoint)
    forgotten = forget_commit(checkpoint)
    stream.put(events(100, 100))

    again = drain(frame, checkpoint)
    assert min(again.by_id) == forgotten
    assert texts_by_batch(again)[forgotten] == texts_by_batch(first)[forgotten]
    assert errors_of({**texts_by_batch(first), **texts_by_batch(again)}, 200) == {}


def test_claims_that_were_wiped(spark, sandbox, new_stream, checkpoint, store, driver_log):
    stream = new_stream(2)
    stream.put(events(0, 100))
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=30, **store.options))
    first = drain(frame, checkpoint)
    assert store.claims()
    store.wipe()
    logged = driver_log.stat().st_size
    stream.put(events(100, 50))

    again = drain(frame, checkpoint)
    before, after = texts_by_batch(first), texts_by_batch(again)
    assert_exact_but_for({**before, **after}, before[max(before)], 150)
    assert warnings_since(driver_log, logged) == 1
    assert store.claims()


def assert_exact_but_for(batches, repeatable, count):
    """Asserts that `count` events are there, each once, except that those in `repeatable` may be there twice."""
    errors = errors_of(batches, count)
    repeated = errors.pop("repeated, and in which batches", {})
    assert errors == {}
    assert set(repeated) <= set(repeatable)


def warnings_since(driver_log, position):
    with open(driver_log) as log:
        log.seek(position)
        return sum(" WARN " in line and "its records may be delivered again" in line for line in log)


def test_another_store_at_each_start(spark, sandbox, new_stream, checkpoint, new_store, driver_log):
    stream = new_stream(2)
    batches, last_batches = Batches(), []
    for run, kind in enumerate(["hadoop-local", "dynamodb", "s3", "hadoop-local"]):
        stream.put(events(100 * run, 100))
        store, logged = new_store(kind), driver_log.stat().st_size
        drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=30, **store.options)), checkpoint, batches)
        assert warnings_since(driver_log, logged) == (0 if run == 0 else 1), kind
        assert max(batch for _, batch, _ in store.claims()) == max(batches.by_id) + 1
        assert_exact_but_for(texts_by_batch(batches), last_batches, 100 * (run + 1))
        last_batches += texts_by_batch(batches)[max(batches.by_id)]
