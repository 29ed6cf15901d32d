"""A job whose secrets are marked. It reads, writes and fails, and stores everything that Spark shows in a folder."""

import json
import sys
import traceback
import urllib.request
from pathlib import Path

from pyspark.sql import SparkSession

# In a file rather than on the command line, which Spark's UI shows.
arguments = json.loads(Path(json.loads(sys.argv[1])["arguments"]).read_text())
shown = Path(arguments["shown"])
options = arguments["options"]
spark = SparkSession.builder.getOrCreate()
MODES = ["simple", "extended", "codegen", "cost", "formatted"]


def keep(name, text):
    (shown / name).write_text(text)


def explain(name, frame):
    execution = frame._jdf.queryExecution()
    for mode in MODES:
        keep(f"{name}.{mode}", spark._jvm.org.apache.spark.sql.api.python.PythonSQLUtils.explainString(execution, mode))
    keep(f"{name}.execution", execution.toString() + frame._jdf.toString())


def copy(name, source, sink):
    """Copies a stream to another, and stores plans and progress."""
    frame = spark.readStream.format("aws-kinesis").options(**options[source]).load()
    explain(f"{name}.frame", frame)
    query = (
        frame.select("partitionKey", "data")
        .writeStream.format("aws-kinesis")
        .options(**options[sink])
        .option("checkpointLocation", f"{arguments['checkpoints']}/{name}")
        .queryName(name)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    keep(f"{name}.plan", query._jsq.explainInternal(True))
    keep(f"{name}.progress", "\n".join([progress.json() for progress in query._jsq.recentProgress()] + [str(query.status)]))


def rows(source):
    return spark.read.format("aws-kinesis").options(**options[source]).load()


def write(sink):
    frame = spark.range(5).selectExpr("'k' AS partitionKey", "cast(id AS STRING) AS data")
    frame.write.format("aws-kinesis").options(**options[sink]).mode("append").save()


def fail(name, action):
    try:
        action()
    except Exception as failure:
        keep(f"{name}.failure", f"{failure!r}\n{failure}\n{traceback.format_exc()}")
    else:
        raise AssertionError(f"{name} does not fail")


def page(path):
    with urllib.request.urlopen(f"{spark.sparkContext.uiWebUrl}{path}", timeout=30) as answer:
        text = answer.read().decode()
    keep("page" + path.replace("/", "_"), text)
    return text


copy("by-keys", "source-by-role", "sink-by-class")
copy("by-class", "source-by-class", "sink-by-keys")
batch = rows("source-by-class")
explain("batch", batch)
keep("count", str(batch.count()))

for name in ["missing-by-role", "sealed"]:
    fail(f"stream-{name}", lambda name=name: copy(f"stream-{name}", name, "sink-by-keys"))
for name in ["missing-by-keys", "sealed"]:
    fail(f"read-{name}", lambda name=name: rows(name).collect())
    fail(f"write-{name}", lambda name=name: write(name))
fail("write-no-class", lambda: write("no-class"))
fail("write-no-login", lambda: write("no-login"))

application = f"/api/v1/applications/{spark.sparkContext.applicationId}"
for path in ["environment", "jobs", "stages"]:
    page(f"{application}/{path}")
executions = json.loads(page(f"{application}/sql?details=true&planDescription=true&length=100"))
for path in ["/environment/", "/jobs/", "/stages/", "/executors/", "/SQL/", "/StreamingQuery/"]:
    page(path)
for execution in executions:
    page(f"/SQL/execution/?id={execution['id']}")
spark.stop()
