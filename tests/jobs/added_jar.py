"""Adds the connector to a running session, copies a stream's records with a query and with a batch, and counts the
records of the other stream. Arguments: a JSON object with `jar`, the options `source` and `sink`, and `checkpoint`.
"""

import json
import sys

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sql(f"ADD JAR {arguments['jar']}")
frame = spark.readStream.format("aws-kinesis").options(**arguments["source"]).load()
writer = frame.writeStream.format("aws-kinesis").options(**arguments["sink"])
writer.option("checkpointLocation", arguments["checkpoint"]).trigger(availableNow=True).start().awaitTermination()
rows = spark.read.format("aws-kinesis").options(**arguments["source"]).load().collect()
print(f"ROWS {len(rows)}")
