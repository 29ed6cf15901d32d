"""A checkpoint that is set back: some of its newest batches, or all, are deleted so that they run again. No records are
lost, and none are delivered twice by the runs after that."""

import shutil

import pytest
from local_kinesis import await_condition

from support.queries import (
    Batches,
    await_probes,
    await_rows,
    committed_batches,
    events,
    payloads,
    planned_batches,
    raise_failure,
    read,
    running,
    source_options,
    start,
)


def forget_after(checkpoint, batch):
    """Deletes the batches after this one from Spark's logs."""
    for folder, numbers in [("offsets", planned_batches(checkpoint)), ("commits", committed_batches(checkpoint))]:
        for number in numbers:
            if number > batch:
                (checkpoint / folder / str(number)).unlink()
                (checkpoint / folder / f".{number}.crc").unlink(missing_ok=True)


def one_batch_each(query, batches, stream, records):
    """Puts each record when the batch of the one before it was delivered."""
    for record in records:
        before = len(batches.rows)
        stream.put([record])
        await_rows(query, batches, before + 1)


def test_a_checkpoint_without_batches(spark, sandbox, new_stream, checkpoint):
    """The query starts from the beginning, and its batches have numbers that had other ends before."""
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream, minBatchesToRetain=3))
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        one_batch_each(query, batches, stream, events(0, 26))
    shutil.rmtree(checkpoint / "offsets")
    shutil.rmtree(checkpoint / "commits")
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, 26)
        one_batch_each(query, batches, stream, events(26, 30))
        await_probes(sandbox, query, stream, more=4)
    assert sorted(batches.data) == payloads(events(0, 56))


@pytest.mark.parametrize("fail_on_data_loss", [False, True])
def test_a_checkpoint_without_its_newest_batches(spark, sandbox, new_stream, checkpoint, fail_on_data_loss):
    """Shards that had no task in a batch have one when it runs again, and read farther than they did."""
    # So many shards that a batch leaves out those without records.
    stream = new_stream(12)
    frame = read(spark, source_options(sandbox, stream, failOnDataLoss=fail_on_data_loss))
    first, second = keys_of_two_shards(stream)
    seed, later = events(0, 1), events(1, 10)
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        one_batch_each(query, batches, stream, seed)
        kept = await_condition(lambda: committed_batches(checkpoint), "the first batch's commit")[-1]
        await_probes(sandbox, query, stream, more=12)
        # Alternating shards, so that each batch reads one of them.
        later = [((first, second)[n % 2], data) for n, (_, data) in enumerate(later)]
        one_batch_each(query, batches, stream, later)
    forget_after(checkpoint, kept)
    batches = Batches()
    query = start(frame, batches, checkpoint)
    with running(query):
        await_rows(query, batches, len(later))
        one_batch_each(query, batches, stream, events(11, 5))
        await_probes(sandbox, query, stream, more=12)
    raise_failure(query)
    delivered = [text for text in batches.data if text not in payloads(seed)]
    assert sorted(delivered) == payloads([*later, *events(11, 5)])


def keys_of_two_shards(stream):
    by_shard = {stream.shard_of(key): key for key in (f"key-{n}" for n in range(64))}
    return sorted(by_shard.values())[:2]
