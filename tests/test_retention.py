"""Records of an open shard that expire before the query reads them, with failOnDataLoss true and false."""

import pytest

from support.consumers import both_consumers
from support.queries import Batches, drain, events, payloads, read, running, source_options, start

TEN = 10


@pytest.fixture
def backlog(new_stream, knobs):
    """A stream of one shard with a hundred records, and a function that expires the first ones."""
    stream = new_stream()
    stream.put(events(0, 100))
    shard = stream.shards()[0]["ShardId"]
    numbers = [record["SequenceNumber"] for record in stream.read_shard(shard)]

    def expire(count):
        knobs(trim={"stream": stream.name, "shard": shard, "records": {"up_to": numbers[count - 1]}})

    stream.shard, stream.numbers, stream.expire = shard, numbers, expire
    return stream


def ten_records_a_batch(spark, sandbox, stream, **options):
    return read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=TEN, **{"prefetch.maxBytesPerShard": 1}, **options))


def expiring_after_the_first_batch(stream, batches):
    """A sink that expires the records up to the thirtieth during its first batch, after the batch is read."""

    def sink(frame, batch_id):
        first = not batches.rows
        batches(frame, batch_id)
        if first:
            stream.expire(30)

    return sink


def assert_names_the_loss(failure, stream):
    message = str(failure.value)
    parts = (
        "DataLoss",
        "have expired, or may have",
        f"stream={stream.name}",
        f"shard={stream.shard}",
        f"position=AFTER {stream.numbers[TEN - 1]}",
        "Lengthen the stream's retention",
        "set kinesis.failOnDataLoss to false",
    )
    for part in parts:
        assert part in message


def lost_positions(query):
    return [int(progress["sources"][0]["metrics"]["lostPositions"]) for progress in query.recentProgress]


def test_expired_between_two_batches_fails_if_wanted(spark, sandbox, backlog, checkpoint):
    batches = Batches()
    frame = ten_records_a_batch(spark, sandbox, backlog, failOnDataLoss="true")
    with pytest.raises(Exception) as failure:
        drain(frame, checkpoint, expiring_after_the_first_batch(backlog, batches))
    assert_names_the_loss(failure, backlog)
    assert sorted(batches.data) == payloads(events(0, TEN))


def test_expired_between_two_batches_is_counted(spark, sandbox, backlog, checkpoint, driver_log):
    batches = Batches()
    frame = ten_records_a_batch(spark, sandbox, backlog)
    query = start(frame, expiring_after_the_first_batch(backlog, batches), checkpoint, availableNow=True)
    with running(query):
        assert query.awaitTermination(120)
    assert sorted(batches.data) == payloads(events(0, TEN) + events(30, 70))
    assert lost_positions(query)[-1] == 1
    warnings = [line for line in driver_log.read_text().splitlines() if "have expired, or may have" in line]
    loss = next(line for line in warnings if backlog.name in line)
    assert "WARN" in loss and "DATA LOSS: " in loss and backlog.shard in loss and backlog.numbers[TEN - 1] in loss
    # The driver logs it too, since people read its log. Here, the driver's log also has the executor's lines.
    assert any("lostPositions in the query's progress" in line for line in driver_log.read_text().splitlines())


@both_consumers
def test_expired_while_the_query_was_down(spark, sandbox, backlog, checkpoint):
    batches = Batches()

    def sink(frame, batch_id):
        if batches.rows:
            raise RuntimeError("down")
        batches(frame, batch_id)

    with pytest.raises(Exception, match="down"):
        drain(ten_records_a_batch(spark, sandbox, backlog), checkpoint, sink)
    backlog.expire(30)

    failing = ten_records_a_batch(spark, sandbox, backlog, failOnDataLoss="true")
    with pytest.raises(Exception) as failure:
        drain(failing, checkpoint)
    assert_names_the_loss(failure, backlog)

    # The failure committed nothing. The same checkpoint continues, without the expired records.
    rest = Batches()
    query = start(ten_records_a_batch(spark, sandbox, backlog), rest, checkpoint, availableNow=True)
    with running(query):
        assert query.awaitTermination(120)
    assert sorted(rest.data) == payloads(events(30, 70))
    assert lost_positions(query)[-1] == 1
