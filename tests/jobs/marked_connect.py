"""A Spark Connect job whose secrets are marked, with the server in this process. Stores all that Connect shows."""

import json
import sys
import traceback
import urllib.request
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

arguments = json.loads(Path(sys.argv[1]).read_text())
shown, options = Path(arguments["shown"]), arguments["options"]
builder = SparkSession.builder.remote("local[2]")
for key, value in arguments["conf"].items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()


def keep(name, text):
    (shown / name).write_text(text)


def explain(name, frame):
    for mode in ["simple", "extended", "codegen", "cost", "formatted"]:
        keep(f"{name}.{mode}", frame._explain_string(mode=mode))


stream = spark.readStream.format("aws-kinesis").options(**options["source"]).load()
explain("stream", stream)
query = (
    stream.select("partitionKey", "data")
    .writeStream.format("aws-kinesis")
    .options(**options["sink"])
    .option("checkpointLocation", arguments["checkpoint"])
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
keep("progress", json.dumps(query.recentProgress, default=str) + str(query.status))
batch = spark.read.format("aws-kinesis").options(**options["source"]).load()
explain("batch", batch)
keep("count", str(batch.count()))
try:
    batch.write.format("aws-kinesis").options(**options["sealed"]).mode("append").save()
except Exception as failure:
    keep("failure", f"{failure!r}\n{failure}\n{traceback.format_exc()}")

url = SparkContext._active_spark_context.uiWebUrl
for path in ["/connect/", "/SQL/", "/jobs/", "/environment/", "/StreamingQuery/"]:
    with urllib.request.urlopen(f"{url}{path}", timeout=30) as answer:
        keep("page" + path.replace("/", "_"), answer.read().decode())
spark.stop()
