"""The connector's typical job, written as users write it. Tests run it, and jobs/typical.py submits it."""

from pyspark.sql.functions import col, from_json, udf
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

EVENT = StructType(
    [
        StructField("id", LongType()),
        StructField("data", StringType()),
        StructField("date", TimestampType()),
    ]
)


def start(spark, source, sink, region, endpoint, checkpoint, name="aws-kinesis", consumer=None, python=False):
    """Starts the job with the environment's credentials. With a `consumer` name, it reads by enhanced fan-out.

    With `python`, a Python function processes every row.
    """
    fan_out = {"kinesis.consumerType": "SubscribeToShard", "kinesis.consumerName": consumer}
    kinesis = (
        spark.readStream.format(name)
        .option("kinesis.region", region)
        .option("kinesis.streamName", source)
        .options(**(fan_out if consumer else {"kinesis.consumerType": "GetRecords"}))
        .option("kinesis.endpointUrl", endpoint)
        .option("kinesis.startingposition", "LATEST")
        .load()
    )
    events = (
        kinesis.selectExpr("cast (data as STRING) jsonData")
        .select(from_json(col("jsonData"), EVENT).alias("events"))
        .select("events.*")
    )
    if python:
        events = events.withColumn("data", udf(lambda text: text, "string")(col("data")))
    return (
        events.selectExpr("CAST(id AS STRING) as partitionKey", "data", "date")
        .writeStream.format(name)
        .option("kinesis.region", region)
        .outputMode("append")
        .option("kinesis.streamName", sink)
        .option("kinesis.endpointUrl", endpoint)
        .option("checkpointLocation", str(checkpoint))
        .start()
    )
