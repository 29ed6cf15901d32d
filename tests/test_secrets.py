"""Secrets are shown nowhere: a job whose secrets are marked runs and fails, then all that came of it is searched."""

import json

import pytest

from support import providers
from support.delivery import EventLog
from support.environment import CREDENTIALS
from support.processes import Job
from support.queries import events, payloads, sink_options, source_options

pytestmark = pytest.mark.slow

# Spark leaves out what looks like a secret to it by its value, too: these don't, and nor does the name of a stream.
MARKS = {name: f"MARK-{number}-4711" for number, name in enumerate(["key", "session", "role", "class"])}
KEYS = {"awsAccessKeyId": "AKIAJOB", "awsSecretKey": MARKS["key"], "sessionToken": MARKS["session"]}
VAULT = {"credentialProviderClass": "example.Vault", "credentialProviderParam": MARKS["class"]}
LOG_CONFIG = """
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = ${sys:marked.log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{HH:mm:ss.SSS} %p %t %c: %m%n%ex
logger.connector.name = io.sparkkinesis
logger.connector.level = trace
"""


class MarkedJob(Job):
    """The job on an executor of its own, with logs at TRACE, Spark's page and the event log."""

    def __init__(self, options, folder):
        config = folder / "log4j2.properties"
        config.write_text(LOG_CONFIG)
        arguments = folder / "arguments.json"
        (folder / "shown").mkdir()
        told = {"options": options, "shown": str(folder / "shown"), "checkpoints": str(folder / "checkpoints")}
        arguments.write_text(json.dumps(told))
        log = f"-Dlog4j2.configurationFile={config.as_uri()} -Dmarked.log={folder}"
        conf = (
            "spark.ui.enabled=true",
            "spark.ui.port=0",
            f"spark.driver.extraJavaOptions={log}/driver.log",
            f"spark.executor.extraJavaOptions={log}/executor.log",
            *EventLog(folder / "events").conf,
        )
        jar = providers.jar(folder / "providers")
        super().__init__(
            "marked", {"arguments": str(arguments)}, folder / "job.log", "local-cluster[1,2,1024]", conf, jars=[jar]
        )


def shown_by(folder):
    """What the job left, but for what it was given."""
    given = [folder / "arguments.json", folder / "providers"]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(file == path or path in file.parents for path in given):
            yield file, file.read_bytes()


def test_what_is_marked_is_shown_nowhere(sandbox, knobs, moto, new_stream, tmp_path):
    source, by_class, by_keys = new_stream(1, "source"), new_stream(1, "by-class"), new_stream(1, "by-keys")
    source.put(events(0, 10))
    # Whoever doesn't take what the options say is refused.
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"]])
    role = {
        **KEYS,
        "stsRoleArn": "arn:aws:iam::123456789012:role/reader",
        "stsEndpointUrl": moto.endpoint,
        "stsExternalId": MARKS["role"],
    }
    sealed = {**VAULT, "credentialProviderClass": "example.Sealed", "clientNumRetries": 0}
    missing = type(source)(source.client, "missing")
    options = {
        "source-by-role": source_options(sandbox, source, **role),
        "sink-by-class": sink_options(sandbox, by_class, **VAULT),
        "source-by-class": source_options(sandbox, by_class, **VAULT),
        "sink-by-keys": sink_options(sandbox, by_keys, **KEYS),
        "missing-by-role": sink_options(sandbox, missing, **role),
        "missing-by-keys": sink_options(sandbox, missing, **KEYS),
        "sealed": sink_options(sandbox, source, **sealed),
        "no-class": sink_options(sandbox, source, **{**VAULT, "credentialProviderClass": "example.Missing"}),
    }
    with MarkedJob(options, tmp_path) as job:
        assert job.wait(600) == 0, job.tail()

    # It did what it was to do, by the classes on driver and executor.
    assert sorted(record["Data"].decode() for record in by_keys.read()) == payloads(events(0, 10))
    shown = tmp_path / "shown"
    assert (shown / "count").read_text() == "10"
    sealed_to = "kinesis.credentialProviderClass example.Sealed: java.lang.IllegalStateException: the vault is sealed to ****"
    for name in "stream", "read", "write":
        assert sealed_to in (shown / f"{name}-sealed.failure").read_text()
    no_class = (shown / "write-no-class.failure").read_text()
    assert "IllegalArgument" in no_class
    assert "kinesis.credentialProviderClass example.Missing: there is no such class" in no_class

    files = dict(shown_by(tmp_path))
    for name in ["driver.log", "executor.log"]:
        assert b"Kinesis" in files[tmp_path / name], name
    plan = (shown / "by-keys.frame.extended").read_text()
    assert "kinesis.stsExternalId=*" in plan and f"kinesis.streamName={source.name}" in plan
    for kind in ["events/*", "checkpoints/by-keys/sources/*/*", "checkpoints/by-keys/offsets/*", "shown/page*"]:
        assert list(tmp_path.glob(kind)), kind
    leaks = [
        (name, str(file.relative_to(tmp_path)))
        for file, content in files.items()
        for name, mark in MARKS.items()
        if mark.encode() in content
    ]
    assert leaks == []
