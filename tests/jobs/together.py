"""Copies a stream's payloads, joined with themselves, into two folders that two threads write at the same time. Each
micro-batch has four scans, two at a time.

The folders are left/batch=N and right/batch=N, overwritten for each batch.
"""

import json
import sys
from multiprocessing.pool import ThreadPool

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()


def write(frame, batch_id):
    rows = frame.selectExpr("CAST(data AS STRING) AS value")
    with ThreadPool(2) as threads:
        threads.map(
            lambda side: rows.write.mode("overwrite").text(f"{arguments['output']}/{side}/batch={batch_id}"),
            ["left", "right"],
            chunksize=1,
        )


stream = spark.readStream.format("aws-kinesis").options(**arguments["options"]).load()
(
    stream.union(stream)
    .writeStream.foreachBatch(write)
    .option("checkpointLocation", arguments["checkpoint"])
    .start()
    .awaitTermination()
)
