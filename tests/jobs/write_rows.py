"""Writes rows, one of which is too large, as a batch or a query, and prints the failure."""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import expr

arguments = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()
rows = (
    spark.range(0, arguments["rows"], 1, arguments["partitions"])
    .withColumn("partitionKey", expr("concat('k', id)"))
    .withColumn("data", expr(f"if(id = {arguments['bad']}, repeat('x', 1048577), cast(id AS STRING))"))
)
try:
    rows.write.format("aws-kinesis").options(**arguments["options"]).mode("append").save()
except Exception as error:
    print(f"FAILED: {error}")
    sys.exit(3)
