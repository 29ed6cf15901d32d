"""Reads a stream with one batch a second on two executors of one core each, while another job of the application holds
one of them. Prints the seconds of each such batch. Arguments: a JSON object with `options` and `checkpoint`."""

import json
import sys
import threading
import time

from local_kinesis import Stream
from local_kinesis.sandbox import client_of
from pyspark.sql import SparkSession

from support.queries import Batches, await_rows, events, read, start

arguments = json.loads(sys.argv[1])
options = arguments["options"]
spark = SparkSession.builder.getOrCreate()
stream = Stream(client_of(options["kinesis.endpointUrl"]), options["kinesis.streamName"])
batches, seconds = Batches(), []


def timed(frame, batch_id):
    began = time.monotonic()
    batches(frame, batch_id)
    seconds.append(time.monotonic() - began)


def put_in_turn(first, count):
    """Puts records for every shard, and again when they have been read."""
    for n in range(first, first + count):
        stream.put(events(20 * n, 20))
        await_rows(query, batches, 20 * (n + 1))


def hold():
    spark.sparkContext.parallelize([0], 1).foreach(lambda _: time.sleep(arguments["seconds"]))


query = start(read(spark, options), timed, arguments["checkpoint"])
put_in_turn(0, 5)
holder = threading.Thread(target=hold)
holder.start()
# The job has its core.
time.sleep(2)
seconds.clear()
put_in_turn(5, 5)
assert holder.is_alive(), "the other job ended before the batches"
print("SECONDS", json.dumps(seconds), flush=True)
query.stop()
