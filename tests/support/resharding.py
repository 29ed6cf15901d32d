"""Helpers for tests of split and merged streams."""

from collections import defaultdict

from .queries import events, payloads


def assert_all_in_order(batches, count, first=0):
    """Asserts that every event is there once, and that those of a key are in the order they were put."""
    assert sorted(batches.data) == payloads(events(first, count))
    by_key = defaultdict(list)
    for row in batches.rows:
        by_key[row.partitionKey].append(bytes(row.data))
    for key, data in by_key.items():
        assert data == sorted(data), key


def open_shards(stream):
    """The ids of the open shards, in the order of their hash keys."""
    shards = sorted(stream.shards(open_only=True), key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
    return [shard["ShardId"] for shard in shards]
