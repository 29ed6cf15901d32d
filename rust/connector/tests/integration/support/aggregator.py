"""Decodes or makes aggregates with Amazon's own code. Tasks from stdin and results are lines of JSON."""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def apart(records):
    """Decodes Kinesis records, pairs of partition key and data, into user records of the same form."""

    def delivered(key, data):
        fixed = {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0}
        return {"kinesis": {**fixed, "partitionKey": key, "data": data}}

    decoded = deaggregate_records([delivered(*record) for record in records])
    return [(record["kinesis"]["partitionKey"], text(record["kinesis"]["data"])) for record in decoded]


def together(rows):
    """Aggregates rows, pairs of partition key and data, into records: partition key, explicit hash key and data."""
    aggregator = RecordAggregator()
    full = [aggregator.add_user_record(key, base64.b64decode(data)) for key, data in rows]
    made = [record for record in [*full, aggregator.clear_and_get()] if record]
    parts = [(*record.get_contents()[:2], base64.b64encode(record.get_contents()[2])) for record in made]
    return [tuple(map(text, record)) for record in parts]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


for line in sys.stdin:
    task = json.loads(line)
    answer = apart(task["apart"]) if "apart" in task else together(task["together"])
    print(json.dumps(answer), flush=True)
