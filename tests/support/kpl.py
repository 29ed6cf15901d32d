"""Writes KPL aggregates, independently of the connector's own codec.

The format: magic number, a protobuf AggregatedRecord, and the MD5 of the latter.
"""

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"
VARINT, BYTES = 0, 2


def aggregate(records):
    """The payload of one Kinesis record that holds these (partition key, data) user records."""
    keys = []
    for key, _ in records:
        if key not in keys:
            keys.append(key)
    body = b"".join(_field(1, key.encode()) for key in keys)
    for key, data in records:
        body += _field(3, _number(1, keys.index(key)) + _field(3, data))
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
