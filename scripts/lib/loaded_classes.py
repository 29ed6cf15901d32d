"""Loads the Spark classes that most tests need, in a JVM that archives them when it exits."""

import tempfile
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)

with tempfile.TemporaryDirectory() as folder:
    events = spark.range(100).selectExpr("id", "concat('{\"id\":', id, '}') as json")
    events.write.parquet(f"{folder}/table")
    events.write.mode("append").json(f"{folder}/json")
    parsed = spark.read.parquet(f"{folder}/table").select(from_json("json", "id LONG").alias("event")).select("event.*")
    parsed.groupBy((col("id") % 7).alias("key")).count().orderBy("key").collect()
    spark.sparkContext.parallelize(range(4), 2).map(lambda number: number + 1).collect()

    def write(batch, number):
        batch.persist()
        batch.groupBy("value").count().collect()
        batch.write.mode("overwrite").text(f"{folder}/batch={number}")
        batch.unpersist()

    stream = spark.readStream.format("text").load(f"{folder}/json")
    query = stream.writeStream.option("checkpointLocation", f"{folder}/checkpoint").foreachBatch(write)
    query.trigger(availableNow=True).start().awaitTermination()
    Path(folder, "done").touch()

spark.stop()
