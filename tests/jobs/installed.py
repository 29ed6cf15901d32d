"""The typical job in a Python with the wheel installed, until its stop file appears. With Spark Connect, this process
runs the server, and the client uses gRPC only."""

import json
import sys
from pathlib import Path

import spark_kinesis
from pyspark.sql import SparkSession

from support import typical_job

arguments = json.loads(sys.argv[1])
builder = SparkSession.builder
builder = builder.remote("local[2]") if arguments["connect"] else builder.master("local[2]")
builder = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "2")
spark = spark_kinesis.configure(builder).getOrCreate()
# Again, as when a notebook's cell is run twice. It causes no warning.
spark = spark_kinesis.configure(SparkSession.builder).getOrCreate()
query = typical_job.start(
    spark,
    arguments["source"],
    arguments["sink"],
    arguments["region"],
    arguments["endpoint"],
    arguments["checkpoint"],
)
while not query.awaitTermination(0.2):
    if Path(arguments["stop"]).exists():
        query.stop()
spark.stop()
