"""Writes KPL aggregates, independently of the connector's own codec.

The format is a magic number, a protobuf AggregatedRecord, and the MD5 digest of the latter.
"""

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"
VARINT, BYTES = 0, 2


def aggregate(records):
    """The payload of one Kinesis record with these user records, each (partition key, data) or (partition key, data,
    explicit hash key or None)."""
    records = [(*record, None)[:3] for record in records]
    keys = list(dict.fromkeys(key for key, _, _ in records))
    hash_keys = list(dict.fromkeys(hash_key for _, _, hash_key in records if hash_key is not None))
    body = b"".join(_field(1, key.encode()) for key in keys)
    body += b"".join(_field(2, hash_key.encode()) for hash_key in hash_keys)
    for key, data, hash_key in records:
        indexes = _number(1, keys.index(key))
        if hash_key is not None:
            indexes += _number(2, hash_keys.index(hash_key))
        body += _field(3, indexes + _field(3, data))
    return _signed(body)


def broken_aggregate(data=b"lost"):
    """An aggregate with a correct digest and one user record, whose partition key isn't in the table."""
    return _signed(_field(1, b"key") + _field(3, _number(1, 9) + _field(3, data)))


def hash_key(partition_key):
    """The hash key that the service derives from a partition key."""
    return int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")


def _signed(body):
    return MAGIC + body + hashlib.md5(body).digest()


def _field(number, content):
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _number(number, value):
    return _varint(number << 3 | VARINT) + _varint(value)


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
