"""Wrong options, wrong rows, and refusals of services: each causes a message with the cure."""

import re

import pytest
from pyspark.errors import IllegalArgumentException
from pyspark.sql.functions import expr

from support.queries import drain, read, sink_options, source_options

REFUSED = [
    ("unknown key", {"kinesis.startingPositon": "LATEST"},
     ["kinesis.startingPositon is not an option", "the nearest one is kinesis.startingPosition"]),
    ("unknown key with a prefix", {"kinesis.getRecords.fetchInterval": "5"},
     ["kinesis.getRecords.fetchInterval is not an option", "kinesis.getRecords.fetchIntervalMs"]),
    ("word", {"kinesis.consumerType": "Poll"},
     ['kinesis.consumerType is "Poll"', "Allowed: GetRecords or SubscribeToShard"]),
    ("not a number", {"kinesis.maxFetchRecordsPerShard": "many"},
     ['kinesis.maxFetchRecordsPerShard is "many"', "a whole number, 1 or more"]),
    ("zero", {"kinesis.maxFetchRecordsPerShard": "0"},
     ['kinesis.maxFetchRecordsPerShard is "0"', "it is too small", "a whole number, 1 or more"]),
    ("too large", {"kinesis.getRecords.numberOfRecordsPerFetch": "10001"},
     ["it is too large", "a whole number from 1 to 10000"]),
    ("time without suffix", {"kinesis.describeShardInterval": "5"},
     ['kinesis.describeShardInterval is "5": it has no suffix', "suffixes ms, s, m, min, h"]),
    ("flag", {"kinesis.failOnDataLoss": "yes"}, ['kinesis.failOnDataLoss is "yes"', "Allowed: true or false"]),
    ("endpoint", {"kinesis.endpointUrl": "localhost:4567"},
     ['kinesis.endpointUrl is "localhost:4567"', "it does not start with http:// or https://"]),
    ("port", {"kinesis.endpointUrl": "http://localhost:123456"}, ["its port is not a number from 1 to 65535"]),
    ("position", {"kinesis.startingPosition": "NEWEST"},
     ['kinesis.startingPosition is "NEWEST"', "LATEST, TRIM_HORIZON, EARLIEST, or AT_TIMESTAMP"]),
    ("timestamp that is none", {"kinesis.startingPosition": "AT_TIMESTAMP 2026-13-45T00:00:00Z"},
     ["2026-13-45T00:00:00Z", "is not a time", "AT_TIMESTAMP 2026-08-30T19:00:05Z"]),
    ("timestamp without offset", {"kinesis.startingPosition": "AT_TIMESTAMP 2026-08-30T19:00:05"},
     ["has no offset (Z for UTC, or as +02:00)"]),
    ("timestamp that is missing", {"kinesis.startingPosition": "AT_TIMESTAMP"}, ["it names no time"]),
    ("proxy without a port", {"kinesis.proxyAddress": "proxy"}, ["kinesis.proxyPort is missing"]),
    ("proxy with a password in it", {"kinesis.proxyAddress": "http://me:hush@proxy:1"},
     ['kinesis.proxyAddress is "http://***@proxy:1"', "it holds a user's name"]),
    ("long name", {"kinesis.streamName": "s" * 200}, ["it has 200 characters", "1 to 128 letters, digits, and the characters _ . -"]),
    ("odd name", {"kinesis.streamName": "my stream"}, ['kinesis.streamName is "my stream"', "it contains ' '"]),
    ("ARN as name", {"kinesis.streamName": "arn:aws:kinesis:eu-central-1:000000000000:stream/events"},
     ['kinesis.streamName is "arn:aws:kinesis:eu-central-1:000000000000:stream/events"', "kinesis.streamArn"]),
    ("DynamoDB without a table", {"kinesis.metadataCommitterType": "DYNAMODB"},
     ["kinesis.dynamodb.tableName is missing", "kinesis.metadataCommitterType DYNAMODB needs the name of a table"]),
    ("table without DynamoDB", {"kinesis.dynamodb.tableName": "claims"},
     ["kinesis.dynamodb.tableName is given without kinesis.metadataCommitterType DYNAMODB"]),
    ("S3 without a bucket", {"kinesis.metadataPath": "s3:///claims"},
     ['kinesis.metadataPath is "s3:///claims"', "it names no bucket, as s3://bucket/path does"]),
    ("key without secret", {"kinesis.awsAccessKeyId": "AKIAALONE"},
     ["kinesis.awsAccessKeyId is given without kinesis.awsSecretKey", "give both or neither"]),
    ("secret without key", {"kinesis.awsSecretKey": "hush"},
     ["kinesis.awsSecretKey is given without kinesis.awsAccessKeyId", "give both or neither"]),
]


def failure_of(action):
    with pytest.raises(Exception) as failure:
        action()
    return str(failure.value)


def write(frame, options):
    frame.write.format("aws-kinesis").options(**options).mode("append").save()


def good_rows(spark, count=10, partitions=2):
    return spark.range(0, count, 1, partitions).selectExpr("concat('k', id) AS partitionKey", "concat('row-', id) AS data")


# Options


@pytest.mark.parametrize("options, parts", [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_options_are_refused_when_the_stream_is_loaded(spark, sandbox, stream, options, parts):
    with pytest.raises(IllegalArgumentException) as failure:
        read(spark, {**source_options(sandbox, stream), **options})
    message = str(failure.value)
    for part in parts:
        assert part in message
    if "kinesis.awsSecretKey" in options:
        assert "hush" not in message


def test_options_of_a_write_are_refused_before_anything_is_sent(spark, sandbox, stream):
    cases = [
        ({"kinesis.sink.maxConnection": "2"}, "the nearest one is kinesis.sink.maxConnections"),
        ({"kinesis.sink.maxConnections": "0"}, "a whole number from 1 to 256"),
        ({"kinesis.sink.maxRecordBytes": "11m"}, "it is too large"),
        ({"sink.maxConnections": "2"}, "the option's name is kinesis.sink.maxConnections"),
    ]
    for options, part in cases:
        with pytest.raises(IllegalArgumentException, match=re.escape(part)):
            write(good_rows(spark), {**sink_options(sandbox, stream), **options})
    assert stream.read() == []


def test_options_of_a_write_in_a_streaming_write(spark, sandbox, new_stream, checkpoint):
    source, sink = new_stream(1), new_stream(1)
    frame = read(spark, source_options(sandbox, source)).select("partitionKey", "data")

    def run():
        options = sink_options(sandbox, sink, **{"sink.maxConnections": "0"})
        writer = frame.writeStream.format("aws-kinesis").options(**options)
        query = writer.option("checkpointLocation", str(checkpoint)).start()
        query.awaitTermination(60)

    assert "a whole number from 1 to 256" in failure_of(run)


def test_one_map_of_options_for_reading_and_writing(spark, sandbox, stream, checkpoint, driver_log):
    options = {**source_options(sandbox, stream), **sink_options(sandbox, stream, **{"sink.maxConnections": "2"})}
    before = len(driver_log.read_text())
    write(good_rows(spark), options)
    assert len(drain(read(spark, options), checkpoint).rows) == 10
    said = driver_log.read_text()[before:]
    for key, side in [("sink.maxConnections", "writing"), ("startingPosition", "reading")]:
        assert said.count(f"kinesis.{key} has no effect: it is an option of {side}") == 1


def test_a_key_of_ours_without_its_prefix(spark, sandbox, stream, checkpoint):
    options = source_options(sandbox, stream)
    start = options.pop("kinesis.startingPosition")
    options["startingPosition"] = start
    message = failure_of(lambda: drain(read(spark, options), checkpoint))
    assert "the option's name is kinesis.startingPosition, with the prefix" in message


def test_no_stream_at_all(spark, sandbox, stream):
    options = source_options(sandbox, stream)
    del options["kinesis.streamName"]
    message = failure_of(lambda: read(spark, options))
    assert "kinesis.streamName" in message and "kinesis.streamArn" in message


def test_options_without_effect_and_internal_ones_are_accepted_with_a_warning(
    spark, sandbox, stream, checkpoint, driver_log
):
    unused = {"subscribeToShard.timeoutSec": "30", "consumerName": "c", "internal.something": "1"}
    options = source_options(sandbox, stream, **unused)
    drain(read(spark, options), checkpoint)
    write(good_rows(spark), sink_options(sandbox, stream, **{"sink.recordTtl": "1000", "sink.flushWaitTimeMs": "5"}))
    log = driver_log.read_text()
    for key in [*unused, "sink.recordTtl", "sink.flushWaitTimeMs"]:
        lines = [line for line in log.splitlines() if stream.name in line and f"kinesis.{key}" in line and " WARN " in line]
        assert len(lines) == 1, key
    assert len(stream.read()) == 10


# Refusals of services


def test_a_stream_that_does_not_exist(spark, sandbox, stream, checkpoint):
    missing = {"kinesis.streamName": "there-is-none"}
    reading = failure_of(lambda: drain(read(spark, {**source_options(sandbox, stream), **missing}), checkpoint))
    writing = failure_of(lambda: write(good_rows(spark), {**sink_options(sandbox, stream), **missing}))
    for message in reading, writing:
        assert "ResourceNotFoundException" in message
        assert "there-is-none" in message
        assert "Check the stream's name, kinesis.region, kinesis.endpointUrl, and the account" in message


def test_wrong_keys(spark, sandbox, knobs, stream, checkpoint):
    knobs(rejected_keys=["AKIAWRONG"])
    keys = {"awsAccessKeyId": "AKIAWRONG", "awsSecretKey": "wrong-secret"}
    reading = failure_of(lambda: drain(read(spark, source_options(sandbox, stream, **keys)), checkpoint))
    writing = failure_of(lambda: write(good_rows(spark), sink_options(sandbox, stream, **keys)))
    for message in reading, writing:
        assert "UnrecognizedClientException" in message
        assert "Check the credentials and what they are allowed to do on this stream" in message
        assert "wrong-secret" not in message


def test_a_closed_port(spark, sandbox, closed_port, stream, checkpoint):
    endpoint = {"endpointUrl": f"http://127.0.0.1:{closed_port}", "clientNumRetries": "1", "clientRetryIntervalsMs": "10"}
    reading = failure_of(lambda: drain(read(spark, source_options(sandbox, stream, **endpoint)), checkpoint))
    writing = failure_of(lambda: write(good_rows(spark), sink_options(sandbox, stream, **endpoint)))
    for message in reading, writing:
        assert "Kinesis could not be reached" in message
        assert "refused" in message.lower()
        assert "Check kinesis.endpointUrl, kinesis.region and the network route to them" in message


def test_no_region_at_all(spark, sandbox, stream, checkpoint):
    """Neither the tests' environment nor the endpoint names a region."""
    read_options, write_options = source_options(sandbox, stream), sink_options(sandbox, stream)
    del read_options["kinesis.region"], write_options["kinesis.region"]
    reading = failure_of(lambda: drain(read(spark, read_options), checkpoint))
    writing = failure_of(lambda: write(good_rows(spark), write_options))
    for message in reading, writing:
        assert "no region: set kinesis.region" in message


# Rows

BAD_ROWS = [
    ("null data", {"data": "null"}, ["column data is null", "coalesce"]),
    ("null key", {"partitionKey": "null"}, ["column partitionKey is null"]),
    ("empty key", {"partitionKey": "''"}, ["column partitionKey is empty", "1 to 256"]),
    ("long key", {"partitionKey": "repeat('é', 257)"}, ["column partitionKey has 257 characters", "1 to 256"]),
    ("too large", {"data": "repeat('x', 1048577)"},
     ["1048577 of data", "the limit is 1048576", "kinesis.sink.maxRecordBytes"]),
    ("odd hash key", {"explicitHashKey": "'+1'"}, ["explicitHashKey", "is not a decimal number"]),
]


@pytest.mark.parametrize("data_type", ["string", "binary"])
@pytest.mark.parametrize("columns, parts", [case[1:] for case in BAD_ROWS], ids=[case[0] for case in BAD_ROWS])
def test_a_row_that_is_no_record_fails_the_write_once(spark, sandbox, new_stream, columns, parts, data_type):
    """The other rows aren't sent twice, although Spark retries failed tasks here (local[2,4])."""
    stream = new_stream(2)
    rows = spark.range(0, 300, 1, 3).selectExpr("id", "concat('k', id) AS partitionKey", "concat('row-', id) AS data")
    for name, value in columns.items():
        good = name if name in rows.columns else "CAST(null AS STRING)"
        rows = rows.withColumn(name, expr(f"if(id = 150, {value}, {good})"))
    rows = rows.withColumn("data", rows["data"].cast(data_type))
    message = failure_of(lambda: write(rows, sink_options(sandbox, stream)))
    for part in parts:
        assert part in message
    assert "artition 1" in message
    sent = [record["Data"].decode() for record in stream.read()]
    assert len(sent) == len(set(sent))
    # In its partition, rows before the bad row may be sent, and none after it. The other partitions are complete.
    others = {f"row-{n}" for n in [*range(100), *range(200, 300)]}
    assert others <= set(sent) <= others | {f"row-{n}" for n in range(100, 150)}


def test_a_row_that_is_no_record_fails_a_streaming_write(spark, sandbox, new_stream, checkpoint):
    source, sink = new_stream(1), new_stream(1)
    source.put([("a", b"1"), ("b", b"2"), ("c", b"")])
    frame = read(spark, source_options(sandbox, source)).selectExpr("partitionKey", "nullif(cast(data AS STRING), '') AS data")
    writer = frame.writeStream.format("aws-kinesis").options(**sink_options(sandbox, sink))
    query = writer.option("checkpointLocation", str(checkpoint)).start()
    message = failure_of(lambda: query.awaitTermination(60))
    assert "column data is null" in message
    sent = [record["Data"] for record in sink.read()]
    assert len(sent) == len(set(sent))
    assert set(sent) <= {b"1", b"2"}


BAD_SCHEMAS = [
    ("int as data", ["'k' AS partitionKey", "1 AS data"], ["Column data is of type int", "string or binary", "cast(data as string)"]),
    ("struct as data", ["'k' AS partitionKey", "struct(id) AS data"], ["Column data is of type struct", "string or binary", "to_json(data)"]),
    ("no data", ["'k' AS partitionKey", "'v' AS value"], ["no column data (string or binary)", "partitionKey, value"]),
    ("no key", ["'d' AS data", "'v' AS value"], ["no column partitionKey (string)", "data, value"]),
    ("binary key", ["cast('k' AS binary) AS partitionKey", "'d' AS data"], ["Column partitionKey is of type binary", "as string"]),
    ("long as hash key", ["'k' AS partitionKey", "'d' AS data", "id AS explicitHashKey"], ["Column explicitHashKey is of type bigint"]),
    ("two of a name", ["'k' AS partitionKey", "'d' AS data", "'e' AS data"], ["2 columns named data", "rename the others"]),
    ("two alike", ["'k' AS partitionKey", "'d' AS DATA", "'e' AS Data"], ["differ in case only"]),
]


@pytest.mark.parametrize("columns, parts", [case[1:] for case in BAD_SCHEMAS], ids=[case[0] for case in BAD_SCHEMAS])
def test_columns_are_refused_before_anything_is_sent(spark, sandbox, stream, columns, parts):
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(IllegalArgumentException) as failure:
            write(spark.range(5).selectExpr(*columns), sink_options(sandbox, stream))
    finally:
        spark.conf.unset("spark.sql.caseSensitive")
    for part in parts:
        assert part in str(failure.value)
    assert stream.read() == []
