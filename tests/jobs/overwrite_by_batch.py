"""Copies a stream's payloads to files, a folder for each batch, which a batch delivered again overwrites."""

import json
import sys

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()


def write(frame, batch_id):
    frame.selectExpr("CAST(data AS STRING) AS value").write.mode("overwrite").text(f"{arguments['output']}/batch={batch_id}")


(
    spark.readStream.format("aws-kinesis")
    .options(**arguments["options"])
    .load()
    .writeStream.foreachBatch(write)
    .option("checkpointLocation", arguments["checkpoint"])
    .start()
    .awaitTermination()
)
