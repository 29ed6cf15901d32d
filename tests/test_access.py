"""Credentials: the keys that requests are signed with. The sandbox rejects those that must not be used."""

import random

import pytest
from local_kinesis import Sts

from support.delivery import EventLog, finish
from support.environment import CREDENTIALS
from support.processes import Job
from support.producer import Producer
from support.proxy import OPTIONS, Proxy
from support.queries import drain, events, payloads, read, sink_options, source_options

ROLE = "arn:aws:iam::123456789012:role/reader"


def test_the_environments_keys(spark, sandbox, knobs, stream, checkpoint):
    stream.put(events(0, 10))
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"]])
    with pytest.raises(Exception, match="UnrecognizedClientException"):
        drain(read(spark, source_options(sandbox, stream, clientNumRetries=0)), checkpoint)
    knobs(rejected_keys=[])
    assert drain(read(spark, source_options(sandbox, stream)), checkpoint).data == payloads(events(0, 10))


def test_static_keys(spark, sandbox, knobs, new_stream, checkpoint):
    source, sink = new_stream(1), new_stream(1)
    source.put(events(0, 10))
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"]])
    keys = {"awsAccessKeyId": "AKIAOTHER", "awsSecretKey": "other-secret"}
    batches = drain(read(spark, source_options(sandbox, source, **keys)), checkpoint)
    assert batches.data == payloads(events(0, 10))

    frame = spark.range(5).selectExpr("'k' AS partitionKey", "cast(id AS STRING) AS data")
    frame.write.format("aws-kinesis").options(**sink_options(sandbox, sink, **keys)).mode("append").save()
    assert len(sink.read()) == 5


def test_the_jvms_system_properties(spark, sandbox, knobs, stream, checkpoint):
    stream.put(events(0, 10))
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"]])
    system = spark._jvm.java.lang.System
    properties = {"aws.accessKeyId": "AKIAPROPERTY", "aws.secretAccessKey": "property-secret"}
    for name, value in properties.items():
        system.setProperty(name, value)
    try:
        batches = drain(read(spark, source_options(sandbox, stream)), checkpoint)
    finally:
        for name in properties:
            system.clearProperty(name)
    assert batches.data == payloads(events(0, 10))


def test_an_assumed_role(spark, sandbox, knobs, moto, new_stream, checkpoint):
    source, sink = new_stream(1), new_stream(1)
    source.put(events(0, 10))
    # Refuses the keys that the role was assumed with, and the environment's.
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"], "AKIABASE"])
    role = {
        "awsAccessKeyId": "AKIABASE",
        "awsSecretKey": "base-secret",
        "stsRoleArn": ROLE,
        "stsEndpointUrl": moto.endpoint,
    }
    batches = drain(read(spark, source_options(sandbox, source, **role)), checkpoint)
    assert batches.data == payloads(events(0, 10))

    named = {"stsRoleArn": ROLE, "stsEndpointUrl": moto.endpoint, "stsSessionName": "a-session", "stsExternalId": "ours"}
    frame = spark.range(5).selectExpr("'k' AS partitionKey", "cast(id AS STRING) AS data")
    frame.write.format("aws-kinesis").options(**sink_options(sandbox, sink, **named)).mode("append").save()
    assert len(sink.read()) == 5


@pytest.mark.slow
def test_a_role_is_renewed_by_an_sts_that_fails_one_time_in_three(sandbox, knobs, new_stream, checkpoint, tmp_path):
    """Sessions of four seconds, to test in a short time what takes hours with sessions of fifteen minutes."""
    stream, output, log = new_stream(2), tmp_path / "output", EventLog(tmp_path / "events")
    with Sts(4, random.Random(2)) as sts, Producer(stream, pause=0.2) as producer:
        options = source_options(sandbox, stream, stsRoleArn=ROLE, stsEndpointUrl=sts.endpoint)
        arguments = {"options": options, "checkpoint": str(checkpoint), "output": str(output), "former": str(tmp_path / "former")}

        def renewed():
            # Refuses the environment's keys and all expired ones.
            knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"], *sts.expired()])
            # Most likely the executor's sessions, since the driver makes few requests while records keep coming.
            return any(sessions > 8 for sessions in sts.sessions.values())

        with Job("overwrite_by_batch", arguments, tmp_path / "job.log", "local-cluster[1,2,1024]", log.conf) as job:
            job.await_condition(renewed, lambda: f"8 renewals, have {sts.sessions}", seconds=240)
            finish(job, stream, producer, output)
        assert all(sts.trouble[kind] for kind in ("error", "throttle", "late")), sts.trouble
    assert log.failures() == []


def test_a_role_that_cannot_be_asked_for(spark, sandbox, closed_port, stream, checkpoint):
    role = {"stsRoleArn": ROLE, "stsEndpointUrl": f"http://127.0.0.1:{closed_port}", "clientNumRetries": "0"}
    with pytest.raises(Exception) as failure:
        drain(read(spark, source_options(sandbox, stream, **role)), checkpoint)
    assert "no AWS credentials for DescribeStreamSummary" in str(failure.value)
    assert "kinesis.stsRoleArn" in str(failure.value)
    assert f"STS at http://127.0.0.1:{closed_port} could not be reached for the role {ROLE}" in str(failure.value)


def test_a_proxy_with_a_password(spark, sandbox, new_stream, checkpoint, tmp_path):
    source, sink = new_stream(1), new_stream(1)
    source.put(events(0, 10))
    with Proxy(tmp_path) as proxy:
        frame = read(spark, source_options(sandbox, source, **proxy.options))
        assert drain(frame, checkpoint).data == payloads(events(0, 10))
        read_by_proxy = proxy.requests(sandbox.endpoint)
        assert read_by_proxy > 0

        rows = spark.range(5).selectExpr("'k' AS partitionKey", "cast(id AS STRING) AS data")
        own = {f"sink.{key}": value for key, value in proxy.options.items()}
        rows.write.format("aws-kinesis").options(**sink_options(sandbox, sink, **own)).mode("append").save()
        assert len(sink.read()) == 5
        assert proxy.requests(sandbox.endpoint) > read_by_proxy

        batch = spark.read.format("aws-kinesis").options(**source_options(sandbox, source, **proxy.options)).load()
        plan = batch._jdf.queryExecution().toString()
        assert not [value for value in OPTIONS.values() if value in plan]

        options = source_options(sandbox, source, **{**proxy.options, "proxyPassword": "wrong-one", "clientNumRetries": "0"})
        with pytest.raises(Exception, match="refused .*kinesis.proxyUsername and kinesis.proxyPassword") as failure:
            drain(read(spark, options), checkpoint)
        assert "wrong-one" not in str(failure.value)
