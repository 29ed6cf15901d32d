"""A batch read's scan has only the columns that its query uses."""

import pytest

from support import kpl
from support.queries import events, sink_options

# Of plain records, and of aggregates with three user records each.
ROWS = 50 + 3 * 10


@pytest.fixture
def frame(spark, sandbox, new_stream):
    stream = new_stream(2)
    stream.put(events(0, 50))
    for number in range(10):
        key = f"key-{number}"
        users = [(key, f"user-{number}-{place}".encode()) for place in range(3)]
        stream.put([(key, kpl.aggregate(users))])
    # sink_options are those of a read without a starting position.
    options = sink_options(sandbox, stream, extraColumns="shardId,subSequenceNumber")
    return spark.read.format("aws-kinesis").options(**options).load()


def scanned(frame):
    """The columns of the one scan in the frame's plan."""
    scan = frame._jdf.queryExecution().sparkPlan().collectLeaves().head()
    columns = list(scan.schema().fieldNames())
    assert columns == list(scan.scan().readSchema().fieldNames())
    return columns


SELECTIONS = [
    ["data"],
    ["sequenceNumber", "data"],
    ["approximateArrivalTimestamp", "streamName"],
    ["streamName"],
    ["subSequenceNumber", "partitionKey", "shardId"],
]


def check_selections(frame):
    whole = frame.collect()
    assert len(whole) == ROWS
    for columns in SELECTIONS:
        selected = frame.select(*columns)
        assert scanned(selected) == [name for name in frame.columns if name in columns]
        expected = sorted(tuple(row[name] for name in columns) for row in whole)
        assert sorted(tuple(row) for row in selected.collect()) == expected


def test_selected_columns_in_any_order(frame):
    assert scanned(frame) == frame.columns
    check_selections(frame)


def test_selected_columns_with_overwritten_memory(spark, frame):
    """Poison mode would expose a column that points to another one's memory, or to a batch that is gone."""
    properties = spark._jvm.java.lang.System
    properties.setProperty("SPARKKINESIS_POISON", "1")
    try:
        check_selections(frame)
    finally:
        properties.clearProperty("SPARKKINESIS_POISON")


def test_a_count_needs_no_column(frame):
    counted = frame.groupBy().count()
    assert scanned(counted) == []
    assert counted.collect()[0][0] == frame.count() == ROWS
    by_shard = frame.groupBy("shardId").count()
    assert scanned(by_shard) == ["shardId"]
    assert sum(row["count"] for row in by_shard.collect()) == ROWS


def test_a_column_that_only_a_filter_uses(frame):
    filtered = frame.where("partitionKey = 'key-3'").select("data")
    assert scanned(filtered) == ["data", "partitionKey"]
    assert sorted(bytes(row.data).decode() for row in filtered.collect()) == ["user-3-0", "user-3-1", "user-3-2"]
    filtered = frame.where("subSequenceNumber = 2").select("partitionKey")
    assert scanned(filtered) == ["partitionKey", "subSequenceNumber"]
    assert sorted(row.partitionKey for row in filtered.collect()) == [f"key-{number}" for number in range(10)]
