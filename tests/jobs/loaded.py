"""Loads a stream with a JAR, and prints the result or Spark's error. Arguments: a JSON object with `jar`."""

import json
import sys

from pyspark.sql import SparkSession

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.master("local[1]").config("spark.jars", arguments["jar"]).getOrCreate()
for load in (spark.read, spark.readStream):
    try:
        load.format("aws-kinesis").option("kinesis.streamName", "events").option("kinesis.region", "us-east-1").load()
        print("LOADED")
    except Exception as error:  # noqa: BLE001 any error is the result
        print(f"REFUSED {type(error).__name__}: {error}")
