"""The typical job by Spark Connect, until its stop file appears: the server is in this process, its client has gRPC only."""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from support import environment, typical_job

arguments = json.loads(sys.argv[1])
spark = (
    SparkSession.builder.remote("local[2]")
    .config("spark.jars", environment.jar())
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
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
