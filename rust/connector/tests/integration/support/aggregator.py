"""Takes aggregates apart, or makes them, with Amazon's own code: a line of JSON for each task, and one for its answer."""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def apart(records):
    """The user records in these Kinesis records, each a partition key and data: pairs of partition key and data."""

    def delivered(key, data):
        fixed = {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0}
        return {"kinesis": {**fixed, "partitionKey": key, "data": data}}

    told = deaggregate_records([delivered(*record) for record in records])
    return [(record["kinesis"]["partitionKey"], text(record["kinesis"]["data"])) for record in told]


def together(rows):
    """These rows, each a partition key and data, as Kinesis records: partition key, explicit hash key and data."""
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
