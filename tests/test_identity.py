"""Several sources in a query, and several queries on a stream: each has its own batches."""

from collections import Counter

import pytest
from pyspark.sql.functions import col

from support.delivery import errors_of
from support.queries import (
    Batches,
    await_rows,
    drain,
    events,
    payloads,
    read,
    running,
    source_options,
    start,
    texts_by_batch,
)
from support.stores import STORES


def limited(sandbox, stream, store=None, limit=30):
    return source_options(sandbox, stream, maxFetchRecordsPerShard=limit, **(store.options if store else {}))


def sources_of(store):
    return {source for source, _, _ in store.claims()}


@pytest.mark.parametrize("kind", sorted(STORES))
def test_two_streams_in_one_query(spark, sandbox, new_stream, new_store, checkpoint, kind):
    """One stream has more batches than the other, and each continues from its own."""
    store, long, short = new_store(kind), new_stream(2, "long"), new_stream(1, "short")
    frame = read(spark, limited(sandbox, long, store)).union(read(spark, limited(sandbox, short, store)))
    batches, counts = Batches(), Counter()
    for _ in range(2):
        for stream, count in (long, 200), (short, 40):
            stream.put(events(counts[stream.name], count))
            counts[stream.name] += count
        drain(frame, checkpoint, batches)
        for stream in long, short:
            assert errors_of(texts_of(batches, stream), counts[stream.name]) == {}
    assert len(sources_of(store)) == 2


def texts_of(batches, stream):
    """One stream's payloads in each batch."""
    return {
        batch_id: [bytes(row.data).decode() for row in rows if row.streamName == stream.name]
        for batch_id, rows in batches.by_id.items()
    }


@pytest.mark.parametrize("frames", ["one frame", "two frames"])
def test_a_union_of_a_stream_with_itself(spark, sandbox, new_stream, checkpoint, frames):
    stream = new_stream(2)
    stream.put(events(0, 150))
    one = read(spark, limited(sandbox, stream))
    other = one if frames == "one frame" else read(spark, limited(sandbox, stream))
    frame = one.selectExpr("data", "'one' AS side").union(other.selectExpr("data", "'other' AS side"))
    batches = drain(frame, checkpoint)
    stream.put(events(150, 50))
    drain(frame, checkpoint, batches)
    sides = {side: sorted(bytes(row.data).decode() for row in batches.rows if row.side == side) for side in ("one", "other")}
    assert sides == dict.fromkeys(("one", "other"), payloads(events(0, 200)))
    assert len(batches.by_id) >= 4


def test_a_join_of_a_stream_with_itself(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(2)
    stream.put(events(0, 120))
    left = read(spark, limited(sandbox, stream)).select(col("sequenceNumber").alias("number"), "data")
    right = read(spark, limited(sandbox, stream)).select(col("sequenceNumber").alias("number"), "partitionKey")
    frame = left.join(right, "number")
    batches = drain(frame, checkpoint)
    stream.put(events(120, 40))
    drain(frame, checkpoint, batches)
    assert sorted(batches.data) == payloads(events(0, 160))
    keys = {data.decode(): key for key, data in events(0, 160)}
    assert all(row.partitionKey == keys[bytes(row.data).decode()] for row in batches.rows)


@pytest.mark.parametrize("kind", sorted(STORES))
def test_two_queries_on_a_stream_with_one_place_for_claims(spark, sandbox, new_stream, new_store, tmp_path, kind):
    """Each query has its own limits, batches and restarts."""
    stream, store = new_stream(2), new_store(kind)
    frames = [read(spark, limited(sandbox, stream, store, limit)) for limit in (10, 60)]
    sinks = [Batches(), Batches()]
    for run in range(2):
        queries = [start(frame, sink, tmp_path / f"checkpoint-{n}") for n, (frame, sink) in enumerate(zip(frames, sinks))]
        with running(queries[0]), running(queries[1]):
            for first in range(120 * run, 120 * (run + 1), 60):
                stream.put(events(first, 60))
                for query, sink in zip(queries, sinks):
                    await_rows(query, sink, first + 60)
    for sink in sinks:
        assert errors_of(texts_by_batch(sink), 240) == {}
    assert len(sources_of(store)) == 2


def test_a_stream_that_was_deleted_and_made_again(spark, sandbox, new_stream, checkpoint, tmp_path):
    stream = new_stream(1)
    stream.put(events(0, 20))
    frame = read(spark, source_options(sandbox, stream))
    assert drain(frame, checkpoint).data == payloads(events(0, 20))

    stream.delete()
    stream = stream.create(stream.client, stream.name)
    stream.put(events(20, 20))
    with pytest.raises(Exception) as failure:
        drain(frame, checkpoint)
    assert "was deleted and made again after the checkpoint was made" in str(failure.value)
    assert "start with a new checkpointLocation" in str(failure.value)
    assert drain(frame, tmp_path / "new-checkpoint").data == payloads(events(20, 20))


def test_a_checkpoint_of_another_stream(spark, sandbox, new_stream, checkpoint):
    first, other = new_stream(1, "first"), new_stream(1, "other")
    first.put(events(0, 20))
    drain(read(spark, source_options(sandbox, first)), checkpoint)
    with pytest.raises(Exception) as failure:
        drain(read(spark, source_options(sandbox, other)), checkpoint)
    assert f"the checkpoint is one of the stream {first.name}, not of {other.name}" in str(failure.value)
    assert "start with a new checkpointLocation" in str(failure.value)
