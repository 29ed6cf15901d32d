"""Records of KPL aggregates."""

from collections import Counter

from support import kpl
from support.queries import drain, events, payloads, read, source_options


def aggregates(count, of):
    """So many Kinesis records, each an aggregate of so many numbered user records."""
    return [(f"outer-{n}", kpl.aggregate(events(n * of, of))) for n in range(count)]


def test_user_records_come_out_with_keys_of_their_own(spark, sandbox, stream, checkpoint):
    inner = [("a", b"1"), ("ключ", b""), ("a", b"3" * 1000), ("b", bytes(range(256)))]
    stream.put([("plain", b"before"), ("outer", kpl.aggregate(inner)), ("plain", b"after")])
    told = stream.read()
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows

    assert [(row.partitionKey, bytes(row.data)) for row in rows] == [("plain", b"before"), *inner, ("plain", b"after")]
    numbers = [told[0]["SequenceNumber"], *[told[1]["SequenceNumber"]] * 4, told[2]["SequenceNumber"]]
    assert [row.sequenceNumber for row in rows] == numbers


def test_a_batch_never_ends_inside_an_aggregate(spark, sandbox, stream, checkpoint):
    stream.put(aggregates(30, of=7))
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10)), checkpoint)

    assert len(batches.by_id) > 5
    for rows in batches.by_id.values():
        assert set(Counter(row.sequenceNumber for row in rows).values()) == {7}
    assert batches.data == payloads(events(0, 210))


def test_an_aggregate_larger_than_the_limit_is_one_batch(spark, sandbox, stream, checkpoint):
    stream.put(aggregates(4, of=25))
    batches = drain(read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10)), checkpoint)
    assert [len(batches.by_id[n]) for n in sorted(batches.by_id)] == [25, 25, 25, 25]
    assert batches.data == payloads(events(0, 100))


def test_what_only_begins_like_an_aggregate_is_a_plain_record(spark, sandbox, stream, checkpoint):
    broken = kpl.aggregate(events(0, 3))[:-1] + b"!"
    stream.put([("a", kpl.MAGIC), ("b", broken), ("c", b"plain")])
    rows = drain(read(spark, source_options(sandbox, stream)), checkpoint).rows
    assert [(row.partitionKey, bytes(row.data)) for row in rows] == [
        ("a", kpl.MAGIC),
        ("b", broken),
        ("c", b"plain"),
    ]
