"""A query's metrics and logs, and the secrets that they must not contain."""

import json

import pytest
from local_kinesis import await_condition

from support.queries import (
    Batches,
    await_rows,
    drain,
    events,
    read,
    running,
    sink_options,
    source_options,
    sql_metrics,
    start,
)

SECRET, TOKEN = "wJalrXUtnFEMI-hush-hush", "FwoGZXIvYXdz-hush-token"
SECRETS = {"awsAccessKeyId": "AKIAHUSHHUSHHUSH", "awsSecretKey": SECRET, "sessionToken": TOKEN}


def with_rows(query):
    """The progress of batches with rows."""
    return [progress for progress in query.recentProgress if progress["numInputRows"] > 0]


def test_progress(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(3)
    stream.put(events(0, 100))
    batches = Batches()
    query = start(read(spark, source_options(sandbox, stream)), batches, checkpoint)
    with running(query):
        await_rows(query, batches, 100)
        await_condition(lambda: with_rows(query), "the batch's progress")
        source = with_rows(query)[0]["sources"][0]
        assert stream.name in source["description"]
        metrics = source["metrics"]
    assert int(metrics["records"]) == 100
    assert int(metrics["bytes"]) == sum(len(data) for _, data in events(0, 100))
    assert int(metrics["requests"]) >= 3
    assert int(metrics["shardsRead"]) == 3
    assert int(metrics["retries"]) == 0
    assert int(metrics["throttles"]) == 0
    assert int(metrics["lostShards"]) == 0
    assert int(metrics["lostPositions"]) == 0
    assert int(metrics["driverRequests"]) >= 1
    assert int(metrics["maxMillisBehindLatest"]) == 0
    assert int(metrics["minMillisBehindLatest"]) == 0
    assert int(metrics["avgMillisBehindLatest"]) == 0
    assert (metrics["numTotalShards"], metrics["numClosedShards"]) == ("3", "0")


def test_lag_shows_while_there_is_a_backlog(spark, sandbox, knobs, stream, checkpoint):
    knobs(arrival_offset_ms=-60_000)
    stream.put(events(0, 500))
    knobs(arrival_offset_ms=0)
    options = source_options(sandbox, stream, maxFetchRecordsPerShard=100)
    query = start(read(spark, options), Batches(), checkpoint, availableNow=True)
    with running(query):
        assert query.awaitTermination(60)
    lags = [int(progress["sources"][0]["metrics"]["maxMillisBehindLatest"]) for progress in with_rows(query)]
    # Prefetched records don't affect the lag.
    assert len(lags) == 5
    assert all(lag >= 60_000 for lag in lags[:-1])
    assert lags[-1] == 0


def test_retries_and_throttles_are_counted(spark, sandbox, knobs, stream, checkpoint):
    stream.put(events(0, 10))
    frame = read(spark, source_options(sandbox, stream, clientRetryIntervalsMs=1))
    seen = []

    # The batch's reader meets this fault, since the driver has already made its requests.
    def write(batch, batch_id):
        knobs(faults=[{"operation": "GetRecords", "error": "throttle", "count": 2}])
        seen.extend(batch.collect())

    query = start(frame, write, checkpoint, availableNow=True)
    with running(query):
        assert query.awaitTermination(60)
    metrics = with_rows(query)[0]["sources"][0]["metrics"]
    assert len(seen) == 10
    assert (metrics["retries"], metrics["throttles"]) == ("2", "2")


def test_the_sql_tab(spark, sandbox, new_stream):
    stream = new_stream(3)
    stream.put(events(0, 100))
    frame = spark.read.format("aws-kinesis").options(**source_options(sandbox, stream)).load()
    rows = frame.collect()
    metrics = sql_metrics(spark)[-1]
    assert len(rows) == 100
    assert metrics["Kinesis records"] == "100"
    assert metrics["Kinesis bytes of data"] == str(sum(len(row.data) for row in rows))
    assert int(metrics["Kinesis requests"]) >= 3
    assert metrics["Kinesis requests sent again"] == "0"
    assert metrics["Kinesis requests throttled"] == "0"
    assert metrics["Kinesis milliseconds behind latest (max)"] == "0"
    assert metrics["Kinesis subscriptions opened again"] == "0"
    assert metrics["Kinesis prefetch hits"] == "0"
    assert metrics["Kinesis bytes left to the next batch"] == "0"


def test_the_sql_tab_shows_what_was_fetched_ahead(spark, sandbox, new_stream, checkpoint):
    stream = new_stream(1)
    stream.put(events(0, 50))
    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=10))
    writer = frame.writeStream.format("noop").option("checkpointLocation", str(checkpoint)).trigger(availableNow=True)
    with running(writer.start()) as query:
        assert query.awaitTermination(60)

    def left_and_taken():
        scans = sql_metrics(spark)
        left = [int(scan["Kinesis bytes left to the next batch"].replace(",", "")) for scan in scans]
        return max(left) > 0 and any(scan["Kinesis prefetch hits"] == "1" for scan in scans)

    await_condition(left_and_taken, lambda: sql_metrics(spark))


def test_no_secret_is_shown(spark, sandbox, new_stream, checkpoint, driver_log, capfd):
    source, sink = new_stream(2), new_stream(1)
    source.put(events(0, 50))
    frame = read(spark, source_options(sandbox, source, **SECRETS))
    query = (
        frame.select("partitionKey", "data").writeStream.format("aws-kinesis")
        .options(**sink_options(sandbox, sink, **SECRETS))
        .option("checkpointLocation", str(checkpoint)).start()
    )
    with running(query):
        await_condition(lambda: len(sink.read()) >= 50 or not query.isActive, "50 records in the sink")
        await_condition(lambda: with_rows(query), "progress")
        query.explain(True)
        shown = [json.dumps(progress, default=str) for progress in query.recentProgress]
    frame.explain(True)
    print(frame.schema, frame, query)
    rows = spark.range(5).selectExpr("cast(id AS STRING) AS partitionKey", "cast(id AS STRING) AS data")
    writer = rows.write.format("aws-kinesis").options(**sink_options(sandbox, sink, **SECRETS)).mode("append")
    writer.save()
    out, err = capfd.readouterr()
    shown += [out, err, driver_log.read_text(), *(f.read_text(errors="replace") for f in checkpoint.rglob("*") if f.is_file())]

    # The searched text does contain output of both.
    assert source.name in out and sink.name in out
    for text in shown:
        for secret in SECRETS.values():
            assert secret not in text


def test_no_secret_is_shown_when_it_fails(spark, sandbox, new_stream, knobs, checkpoint, driver_log):
    stream = new_stream(1)
    knobs(rejected_keys=[SECRETS["awsAccessKeyId"]])
    with pytest.raises(Exception) as failure:
        drain(read(spark, source_options(sandbox, stream, clientNumRetries=0, **SECRETS)), checkpoint)
    texts = [str(failure.value), driver_log.read_text()]
    assert "UnrecognizedClientException" in texts[0]
    for text in texts:
        assert SECRET not in text
        assert TOKEN not in text
