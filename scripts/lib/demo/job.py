"""The demo's Spark job: counts per country and window on the console, and the events into a second stream.

Usage: job.py SOURCE SINK REGION ENDPOINT CHECKPOINTS STOP_FILE. It ends when the stop file appears.
"""

import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json, window

source, sink, region, endpoint, checkpoints, stop_file = sys.argv[1:]
spark = SparkSession.builder.appName("kinesis-demo").getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")

kinesis = (
    spark.readStream.format("aws-kinesis")
    .option("kinesis.region", region)
    .option("kinesis.streamName", source)
    .option("kinesis.consumerType", "GetRecords")
    .option("kinesis.endpointUrl", endpoint)
    .option("kinesis.startingposition", "LATEST")
    .load()
)
events = (
    kinesis.selectExpr("cast (data as STRING) jsonData")
    .select(from_json(col("jsonData"), "id LONG, data STRING, date TIMESTAMP").alias("events"))
    .select("events.*")
)

copy = (
    events.selectExpr("CAST(id AS STRING) as partitionKey", "data", "date")
    .writeStream.format("aws-kinesis")
    .option("kinesis.region", region)
    .outputMode("append")
    .option("kinesis.streamName", sink)
    .option("kinesis.endpointUrl", endpoint)
    .option("checkpointLocation", f"{checkpoints}/copy")
    .queryName("copy")
    .start()
)
counts = (
    events.groupBy(window("date", "1 minute").alias("w"), col("data").alias("country"))
    .count()
    .selectExpr("date_format(w.start, 'HH:mm') AS minute", "country", "count")
    .orderBy(col("minute").desc(), "country")
    .writeStream.format("console")
    .outputMode("complete")
    .option("checkpointLocation", f"{checkpoints}/counts")
    .option("numRows", 12)
    .trigger(processingTime="5 seconds")
    .queryName("counts")
    .start()
)


def show(seen):
    """Prints one line about the copy's batches after batch `seen`, and returns the newest batch's id."""
    new = [p for p in copy.recentProgress if p["batchId"] > seen and p["numInputRows"] > 0]
    if not new:
        return seen
    last = new[-1]
    metrics = last["sources"][0]["metrics"]
    rows = sum(p["numInputRows"] for p in new)
    print(
        f"    copy  {last['timestamp'][11:19]}  batches {new[0]['batchId']:>4}-{last['batchId']:<4} rows {rows:>5}"
        f"  in {last['inputRowsPerSecond'] or 0:>7.1f} rows/s  processed {last['processedRowsPerSecond'] or 0:>7.1f} rows/s"
        f"  lag {int(metrics.get('maxMillisBehindLatest', 0)) / 1000:.1f} s",
        flush=True,
    )
    return last["batchId"]


shown = -1
# Also waits for the first table on the console, which a very short run would not show.
while not (Path(stop_file).exists() and counts.lastProgress):
    for query in copy, counts:
        if query.exception() is not None:
            raise query.exception()
    if not copy.awaitTermination(1):
        shown = show(shown)
for query in copy, counts:
    query.stop()
