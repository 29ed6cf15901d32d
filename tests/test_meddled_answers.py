"""Answers that no sandbox gives, from a proxy in between: those without content, and refusals of the claims' stores that pass."""

import json
import threading

import pytest
from local_kinesis import REGION, await_condition

from support.meddler import Meddler
from support.queries import Batches, await_rows, events, payloads, read, running, source_options, start

EMPTY = 200, {"Content-Type": "application/x-amz-json-1.1"}, b"{}"


@pytest.fixture
def meddlers():
    """A function that puts a meddler before a service."""
    made = []

    def create(endpoint):
        made.append(Meddler(endpoint))
        return made[-1]

    yield create
    for meddler in made:
        meddler.stop()


def test_an_empty_description_at_the_first_start_spoils_no_checkpoint(spark, sandbox, stream, meddlers, checkpoint):
    stream.put(events(0, 50))
    meddler, empty = meddlers(sandbox.endpoint), [EMPTY]
    meddler.rule = lambda operation, body, pass_on: empty.pop() if operation == "DescribeStreamSummary" and empty else None
    frame, batches = read(spark, source_options(meddler, stream)), Batches()
    with running(query := start(frame, batches, checkpoint)):
        await_rows(query, batches, 50)
    assert not empty, "the stream was not described"
    with running(query := start(frame, batches, checkpoint)):
        stream.put(events(50, 50))
        await_rows(query, batches, 100)
    assert sorted(batches.data) == payloads(events(0, 100))


def test_empty_descriptions_are_not_another_stream(spark, sandbox, stream, meddlers, checkpoint):
    """A shard that is not found for a moment makes the query describe its stream."""
    stream.put(events(0, 50))
    meddler, batches, described = meddlers(sandbox.endpoint), Batches(), []

    def rule(operation, body, pass_on):
        if operation == "DescribeStreamSummary" and len(described) < 3:
            described.append(operation)
            return EMPTY
        return not_found if operation == "GetRecords" and len(described) < 3 else None

    error = {"__type": "ResourceNotFoundException", "message": "no such shard"}
    not_found = 400, EMPTY[1], json.dumps(error).encode()
    with running(query := start(read(spark, source_options(meddler, stream)), batches, checkpoint)):
        await_rows(query, batches, 50)
        meddler.rule = rule
        stream.put(events(50, 50))
        await_rows(query, batches, 100)
    assert len(described) == 3
    assert sorted(batches.data) == payloads(events(0, 100))


S3_REFUSALS = {
    "throttled": (429, "TooManyRequests"),
    "denied": (403, "AccessDenied"),
    "key": (400, "KMS.DisabledException"),
    "rotated": (403, "InvalidAccessKeyId"),
}


@pytest.mark.parametrize("refusal", S3_REFUSALS)
def test_claims_in_s3_that_are_refused_for_seconds(spark, sandbox, stream, moto, meddlers, checkpoint, refusal):
    status, code = S3_REFUSALS[refusal]
    bucket = f"refused-for-seconds-{refusal}"
    moto.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    body = f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
    meddler = meddlers(moto.endpoint)
    options = {"metadataPath": f"s3://{bucket}/claims", "s3.endpointUrl": meddler.endpoint}
    refuse_for_seconds(spark, sandbox, stream, checkpoint, options, meddler, "PUT", (status, {"Content-Type": "application/xml"}, body))


DYNAMODB_REFUSALS = ["AccessDeniedException", "UnrecognizedClientException", "ReplicatedWriteConflictException"]


@pytest.mark.parametrize("code", DYNAMODB_REFUSALS)
def test_claims_in_dynamodb_that_are_refused_for_seconds(spark, sandbox, stream, moto, meddlers, checkpoint, code):
    error = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "not now"}
    meddler = meddlers(moto.endpoint)
    options = {
        "metadataCommitterType": "DYNAMODB",
        "dynamodb.tableName": f"refused-for-seconds-{code}",
        "dynamodb.endpointUrl": meddler.endpoint,
    }
    refuse_for_seconds(spark, sandbox, stream, checkpoint, options, meddler, "PutItem", (400, EMPTY[1], json.dumps(error).encode()))


def refuse_for_seconds(spark, sandbox, stream, checkpoint, options, meddler, operation, answer):
    """While a policy, a grant or a key is changed, puts of a query that has been writing claims are refused."""
    batches, refused = Batches(), []

    def rule(called, body, pass_on):
        if called == operation:
            refused.append(called)
            return answer
        return None

    with running(query := start(read(spark, source_options(sandbox, stream, **options)), batches, checkpoint)):
        for run in range(2):
            stream.put(events(50 * run, 50))
            await_rows(query, batches, 50 * (run + 1))
        meddler.rule = rule
        stream.put(events(100, 50))
        await_condition(lambda: refused or not query.isActive, "a refused put")
        threading.Timer(2, setattr, (meddler, "rule", None)).start()
        await_rows(query, batches, 150)
    assert sorted(batches.data) == payloads(events(0, 150))
