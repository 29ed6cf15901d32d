"""Restarts a query repeatedly while Spark's listeners handle its ends late, and exits while the query runs.

The argument `ends` selects the way to exit: `by spark.stop()`, or by a signal that the job waits for.
"""

import json
import sys
import threading
from pathlib import Path

from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
rows, more_rows = [0], threading.Condition()


class SlowListener:
    """A Spark listener that blocks the event of a query's end until `may_go_on` is set."""

    may_go_on = threading.Event()

    def onOtherEvent(self, event):
        if event.getClass().getName().endswith("QueryTerminatedEvent"):
            self.may_go_on.wait()

    def __getattr__(self, name):
        if name.startswith("on"):
            return lambda *_: None
        raise AttributeError(name)

    class Java:
        implements = ["org.apache.spark.scheduler.SparkListenerInterface"]


def count(frame, _):
    found = frame.count()
    with more_rows:
        rows[0] += found
        more_rows.notify_all()


def start():
    return (
        spark.readStream.format("aws-kinesis")
        .options(**arguments["options"])
        .load()
        .writeStream.foreachBatch(count)
        .option("checkpointLocation", arguments["checkpoint"])
        .start()
    )


def await_rows(query):
    """Waits for rows that arrive after this call."""
    with more_rows:
        before = rows[0]
        while rows[0] == before:
            if not query.isActive:
                raise query.exception()
            more_rows.wait(0.1)


ensure_callback_server_started(context._gateway)
context._jsc.sc().addSparkListener(SlowListener())
for _ in range(arguments["restarts"]):
    query = start()
    await_rows(query)
    query.stop()
query = start()
await_rows(query)
SlowListener.may_go_on.set()
context._jsc.sc().listenerBus().waitUntilEmpty(60_000)
# Reads after the listeners have handled all ends.
await_rows(query)
Path(arguments["ready"]).touch()
if arguments["ends"] == "by spark.stop()":
    spark.stop()
else:
    query.awaitTermination()
