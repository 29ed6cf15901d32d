"""Triggers that end."""

import pytest

from support.queries import Batches, drain, events, payloads, planned_batches, read, source_options, start


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
