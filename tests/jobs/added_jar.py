"""Adds the connector to a session that runs already, copies a stream's records by a query and by a batch, and counts those of the
other. Arguments: a JSON of `jar`, of the options `source` and `sink`, and of `checkpoint`.
"""

import json
import sys

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sql(f"ADD JAR {arguments['jar']}")
frame = spark.readStream.format("aws-kinesis").options(**arguments["source"]).load()
writer = frame.drop("streamName").writeStream.format("aws-kinesis").options(**arguments["sink"])
writer.option("checkpointLocation", arguments["checkpoint"]).trigger(availableNow=True).start().awaitTermination()
rows = spark.read.format("aws-kinesis").options(**arguments["source"]).load().collect()
print(f"ROWS {len(rows)}")
