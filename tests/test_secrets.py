"""Secrets appear nowhere: a job whose secrets are marked runs and fails, and all its output is searched for marks."""

import base64
import json
import re
import sys

import pyspark
import pytest

from support import environment, providers
from support.delivery import EventLog
from support.environment import CREDENTIALS
from support.processes import JOBS, Job, Program
from support.proxy import OPTIONS, Proxy
from support.queries import events, payloads, sink_options, source_options

pytestmark = pytest.mark.slow

# Spark also redacts values that look like secrets. Neither these values nor the name of a stream do.
MARKS = {name: f"MARK-{number}-4711" for number, name in enumerate(["key", "session", "role", "class", "proxy"])}
# The form in which a request to the proxy contains it.
MARKS["login"] = base64.b64encode(f"{OPTIONS['proxyUsername']}:{MARKS['proxy']}".encode()).decode()
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


@pytest.fixture
def proxy(tmp_path_factory):
    """A proxy whose password is marked."""
    with Proxy(tmp_path_factory.mktemp("proxy"), MARKS["proxy"]) as proxy:
        yield proxy


class MarkedJob(Job):
    """The job on a separate executor, with logs at TRACE, Spark's UI and the event log."""

    def __init__(self, options, folder):
        config = folder / "log4j2.properties"
        config.write_text(LOG_CONFIG)
        arguments = folder / "arguments.json"
        (folder / "shown").mkdir()
        job = {"options": options, "shown": str(folder / "shown"), "checkpoints": str(folder / "checkpoints")}
        arguments.write_text(json.dumps(job))
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


class ConnectJob(Program):
    """The job by Spark Connect, with the server in its process."""

    def __init__(self, options, folder):
        config = folder / "log4j2.properties"
        config.write_text(LOG_CONFIG)
        arguments = folder / "arguments.json"
        (folder / "shown").mkdir()
        conf = dict(setting.split("=", 1) for setting in EventLog(folder / "events").conf)
        conf |= {
            "spark.jars": f"{environment.jar()},{providers.jar(folder / 'providers')}",
            "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={config.as_uri()} -Dmarked.log={folder}/driver.log",
            "spark.ui.port": "0",
            "spark.sql.redaction.string.regex": redaction_of_connect(),
        }
        job = {"options": options, "shown": str(folder / "shown"), "checkpoint": str(folder / "checkpoint"), "conf": conf}
        arguments.write_text(json.dumps(job))
        command = [sys.executable, str(JOBS / "marked_connect.py"), str(arguments)]
        super().__init__(command, folder / "job.log", path=[environment.connect_packages()])


def redaction_of_connect():
    """The redaction setting for Spark Connect from docs/access.md."""
    page = (environment.ROOT / "docs/access.md").read_text()
    return re.search(r"^spark\.sql\.redaction\.string\.regex (.+)$", page, re.MULTILINE)[1]


def leaks_in(folder):
    """The (mark, file) of each file that contains a mark."""
    return [
        (name, str(file.relative_to(folder)))
        for file, content in shown_by(folder)
        for name, mark in MARKS.items()
        if mark.encode() in content
    ]


def shown_by(folder):
    """The files that the job left, without its inputs."""
    given = [folder / "arguments.json", folder / "providers"]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(file == path or path in file.parents for path in given):
            yield file, file.read_bytes()


def test_what_is_marked_is_shown_nowhere(sandbox, knobs, moto, new_stream, tmp_path, proxy):
    source, by_class, by_keys = new_stream(1, "source"), new_stream(1, "by-class"), new_stream(1, "by-keys")
    source.put(events(0, 10))
    # Refuses clients that use the environment's keys rather than those of the options.
    knobs(rejected_keys=[CREDENTIALS["AWS_ACCESS_KEY_ID"]])
    role = {
        **KEYS,
        "stsRoleArn": "arn:aws:iam::123456789012:role/reader",
        "stsEndpointUrl": moto.endpoint,
        "stsExternalId": MARKS["role"],
        **proxy.options,
    }
    by_proxy = {**KEYS, **{f"sink.{key}": value for key, value in proxy.options.items()}}
    sealed = {**VAULT, "credentialProviderClass": "example.Sealed", "clientNumRetries": 0}
    missing = type(source)(source.client, "missing")
    options = {
        "source-by-role": source_options(sandbox, source, **role),
        "sink-by-class": sink_options(sandbox, by_class, **VAULT),
        "source-by-class": source_options(sandbox, by_class, **VAULT),
        "sink-by-keys": sink_options(sandbox, by_keys, **by_proxy),
        "missing-by-role": sink_options(sandbox, missing, **role),
        "missing-by-keys": sink_options(sandbox, missing, **KEYS),
        "sealed": sink_options(sandbox, source, **sealed),
        "no-login": sink_options(sandbox, source, **{**by_proxy, "sink.proxyUsername": "nobody"}),
        "no-class": sink_options(sandbox, source, **{**VAULT, "credentialProviderClass": "example.Missing"}),
    }
    with MarkedJob(options, tmp_path) as job:
        assert job.wait(600) == 0, job.tail()

    assert proxy.requests(sandbox.endpoint) > 0 and proxy.requests(moto.endpoint) > 0
    # The job did its work, with the classes on driver and executor.
    assert sorted(record["Data"].decode() for record in by_keys.read()) == payloads(events(0, 10))
    shown = tmp_path / "shown"
    assert (shown / "count").read_text() == "10"
    sealed_to = "kinesis.credentialProviderClass example.Sealed: java.lang.IllegalStateException: the vault is sealed to ****"
    for name in "stream", "read", "write":
        assert sealed_to in (shown / f"{name}-sealed.failure").read_text()
    no_class = (shown / "write-no-class.failure").read_text()
    assert "IllegalArgument" in no_class
    assert "kinesis.credentialProviderClass example.Missing: there is no such class" in no_class
    assert "kinesis.sink.proxyPassword" in (shown / "write-no-login.failure").read_text()

    files = dict(shown_by(tmp_path))
    for name in ["driver.log", "executor.log"]:
        assert b"Kinesis" in files[tmp_path / name], name
    plan = (shown / "by-keys.frame.extended").read_text()
    assert "kinesis.stsExternalId=*" in plan and f"kinesis.streamName={source.name}" in plan
    for kind in ["events/*", "checkpoints/by-keys/sources/*/*", "checkpoints/by-keys/offsets/*", "shown/page*"]:
        assert list(tmp_path.glob(kind)), kind
    assert leaks_in(tmp_path) == []


if not pyspark.__version__.startswith("3."):
    # PySpark 3.5 doesn't include Spark Connect's server.
    def test_what_is_marked_is_not_shown_by_spark_connect(sandbox, new_stream, tmp_path, proxy):
        source, sink = new_stream(1, "source"), new_stream(1, "sink")
        source.put(events(0, 10))
        options = {
            "source": source_options(sandbox, source, **KEYS, **proxy.options),
            "sink": sink_options(sandbox, sink, **VAULT),
            "sealed": sink_options(sandbox, sink, **{**VAULT, "credentialProviderClass": "example.Sealed"}, clientNumRetries=0),
        }
        with ConnectJob(options, tmp_path) as job:
            assert job.wait(600) == 0, job.tail()
        shown = tmp_path / "shown"
        assert (shown / "count").read_text() == "10"
        assert "the vault is sealed to ****" in (shown / "failure").read_text()
        assert f"kinesis.streamName={source.name}" in (shown / "stream.extended").read_text()
        assert list(tmp_path.glob("events/*")) and (tmp_path / "driver.log").read_bytes()
        # The server shows each request, redacted by the setting of docs/access.md.
        requests = [*tmp_path.glob("events/*"), shown / "page_connect_"]
        assert any(b"kinesis.awsSecretKey" in file.read_bytes() or b"redacted" in file.read_bytes() for file in requests)
        assert leaks_in(tmp_path) == []
