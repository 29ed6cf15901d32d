"""The typical job, until it is killed or its stop file appears."""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from support import typical_job

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()
query = typical_job.start(
    spark,
    arguments["source"],
    arguments["sink"],
    arguments["region"],
    arguments["endpoint"],
    arguments["checkpoint"],
    consumer=arguments.get("consumer"),
    python=arguments.get("python", False),
)
while not query.awaitTermination(0.2):
    if Path(arguments["stop"]).exists():
        query.stop()
