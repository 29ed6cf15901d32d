"""Copies a stream's payloads as overwrite_by_batch does, but with tasks that are slow or fail at random.

Every other batch is disturbed in Python, for which a separate thread reads. The rest are disturbed within the JVM,
where the task's own thread reads.
"""

import json
import random
import sys
import time

from pyspark import TaskContext
from pyspark.sql import SparkSession

FAIL_AT = ("the start", "a row", "the end")
# Math.random differs for each row of each attempt; Spark's own rand() doesn't.
RANDOM = "CAST(java_method('java.lang.Math', 'random') AS DOUBLE)"

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()


def slow_in_python(batch_id):
    """In some partitions, the first attempt sleeps at one row."""

    def run(rows):
        context = TaskContext.get()
        chance = random.Random(f"{batch_id}/{context.partitionId()}")
        sleeps = context.attemptNumber() == 0 and chance.random() < 0.4
        at, seconds = chance.randrange(30), chance.uniform(0.5, 2)
        for number, row in enumerate(rows):
            if sleeps and number == at:
                time.sleep(seconds)
            yield row

    return run


def failing_in_python(batch_id):
    """Every first attempt fails, at a place that depends on batch and partition."""

    def run(rows):
        context = TaskContext.get()
        stage = FAIL_AT[(batch_id // 2 + context.partitionId()) % len(FAIL_AT)] if context.attemptNumber() == 0 else None
        at = random.Random(f"{batch_id}/{context.partitionId()}").randrange(1, 20)
        if stage == "the start":
            raise ValueError("on purpose, at the start")
        for number, row in enumerate(rows):
            if stage == "a row" and number == at:
                raise ValueError("on purpose, at a row")
            yield row
        if stage == "the end":
            raise ValueError("on purpose, at the end")

    return run


def weary_in_python(_):
    """Every row is slow, so that a batch lasts long enough to be killed."""

    def run(rows):
        for row in rows:
            time.sleep(0.005)
            yield row

    return run


def sleeping_sometimes(chance, millis):
    """SQL for a row's text, delayed at random. The result of the sleep adds nothing to it."""
    sleep = f"java_method('java.lang.Thread', 'sleep', CAST(IF({RANDOM} < {chance}, {millis}, 0) AS BIGINT))"
    return f"concat(value, substr(coalesce({sleep}, ''), 1, 0)) AS value"


DISTURBANCES = {
    "slow": (slow_in_python, sleeping_sometimes(0.01, 1000)),
    "failing": (failing_in_python, f"IF({RANDOM} < 0.012, raise_error('on purpose, in the JVM'), value) AS value"),
    "weary": (weary_in_python, sleeping_sometimes(1, 5)),
}
in_python, in_jvm = DISTURBANCES[arguments["disturbance"]]


def write(frame, batch_id):
    rows = frame.selectExpr("CAST(data AS STRING) AS value")
    if batch_id % 2 == 0:
        rows = spark.createDataFrame(rows.rdd.mapPartitions(in_python(batch_id)), rows.schema)
    else:
        rows = rows.selectExpr(in_jvm)
    rows.write.mode("overwrite").text(f"{arguments['output']}/batch={batch_id}")


(
    spark.readStream.format("aws-kinesis")
    .options(**arguments["options"])
    .load()
    .writeStream.foreachBatch(write)
    .option("checkpointLocation", arguments["checkpoint"])
    .start()
    .awaitTermination()
)
