"""Copies a stream's payloads to files, in a folder for each batch, which a repeated batch overwrites.

A complete folder is copied aside before it is overwritten, for comparison. The pauses after a write and between batches
give a kill time to hit them.
"""

import json
import os
import random
import sys
import time
import uuid
from pathlib import Path

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
output, former = Path(arguments["output"]), Path(arguments["former"])
former.mkdir(exist_ok=True)
spark = SparkSession.builder.getOrCreate()


def write(frame, batch_id):
    folder = output / f"batch={batch_id}"
    if (folder / "_SUCCESS").exists():
        os.rename(folder, former / f"{batch_id}.{uuid.uuid4()}")
    frame.selectExpr("CAST(data AS STRING) AS value").write.mode("overwrite").text(str(folder))
    time.sleep(random.uniform(0, 0.5))


(
    spark.readStream.format("aws-kinesis")
    .options(**arguments["options"])
    .load()
    .writeStream.foreachBatch(write)
    .trigger(processingTime="2 seconds")
    .option("checkpointLocation", arguments["checkpoint"])
    .start()
    .awaitTermination()
)
