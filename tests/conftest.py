"""Fixtures: one sandbox and one Spark session for all tests, and streams with unique names."""

import itertools
import re
import socket
from pathlib import Path

import pytest

# Failed assertions in `support` show their values too.
pytest.register_assert_rewrite("support")

from support import environment  # noqa: E402

environment.prepare()

from local_kinesis import KinesisLocal, Sandbox, Stream  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

from support import consumers  # noqa: E402
from support.moto import Moto  # noqa: E402
from support.stores import STORES  # noqa: E402

LOG_CONFIG = """
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {path}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{HH:mm:ss.SSS}} %p %t %c: %m%n%ex
logger.connector.name = io.sparkkinesis
logger.connector.level = debug
"""

_numbers = itertools.count()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    with Sandbox(environment.sandbox_program(), log=tmp_path_factory.mktemp("sandbox") / "log") as sandbox:
        sandbox.knobs(**environment.trouble())
        yield sandbox


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    """STS, S3 and DynamoDB."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Moto(port, tmp_path_factory.mktemp("moto") / "log") as moto:
        yield moto


@pytest.fixture
def new_store(moto, tmp_path):
    """A function that creates a store for claims, of a kind in STORES."""
    return lambda kind: STORES[kind](moto, f"claims-{next(_numbers)}", tmp_path)


@pytest.fixture(params=sorted(STORES))
def store(new_store, request):
    return new_store(request.param)


@pytest.fixture(scope="session")
def kinesis_local(tmp_path_factory):
    """kinesis-local, an independent implementation of Kinesis, started for the first test that needs it."""
    with KinesisLocal(environment.kinesis_local_package(), tmp_path_factory.mktemp("kinesis-local") / "log") as service:
        yield service


@pytest.fixture(scope="session")
def driver_log(tmp_path_factory):
    """The log file of the driver, which is also the executor."""
    return tmp_path_factory.mktemp("driver") / "driver.log"


@pytest.fixture(scope="session")
def spark(tmp_path_factory, driver_log):
    config = tmp_path_factory.mktemp("log4j") / "log4j2.properties"
    config.write_text(LOG_CONFIG.format(path=driver_log))
    session = (
        # As on a cluster, Spark retries failed tasks.
        SparkSession.builder.master("local[2,4]")
        .config("spark.jars", environment.jar())
        .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={config.as_uri()}")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()


def streams_of(service, request):
    """A function that creates streams, which are deleted after the test."""
    made = []

    def create(shards=1, name="stream"):
        test = re.sub(r"[^A-Za-z0-9_]", "_", request.node.name)[:60]
        stream = Stream.create(service.client, f"{name}-{test}-{next(_numbers)}", shards)
        made.append(stream)
        return stream

    yield create
    for stream in made:
        stream.delete()


@pytest.fixture
def new_stream(sandbox, request):
    yield from streams_of(sandbox, request)


@pytest.fixture(params=["sandbox", "kinesis_local"])
def kinesis(request):
    """The sandbox and kinesis-local in turn: the second checks a test against an independent idea of Kinesis."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def new_stream_anywhere(kinesis, request):
    """A function that creates streams in `kinesis`."""
    yield from streams_of(kinesis, request)


@pytest.fixture
def stream(new_stream):
    return new_stream()


@pytest.fixture
def knobs(sandbox):
    """Sets the sandbox's knobs, and resets them after the test. Knobs of a single stream are deleted with it."""
    yield sandbox.knobs
    calm = {"rejected_keys": [], "empty_answers": 0, "arrival_offset_ms": 0, "shard_limits": False, "auto_distribution": False}
    calm |= {"iterator_max_age_ms": 300_000, "subscriptions": {"idle_event_ms": 5_000}}
    sandbox.knobs(clear_faults=True, **calm | environment.trouble())


@pytest.fixture(autouse=True)
def consumer_type(request):
    """The consumer type of the test's queries: GetRecords, and with consumers.both_consumers SubscribeToShard too."""
    kind = getattr(request, "param", consumers.POLLING)
    if kind == consumers.FAN_OUT:
        request.getfixturevalue("subscriptions")
    consumers.use(kind)
    yield kind
    consumers.use(consumers.POLLING)


@pytest.fixture
def subscriptions(sandbox):
    """Sets the knobs of subscriptions. A subscription can be reopened after half a second instead of five."""

    def turn(**update):
        sandbox.knobs(subscriptions=update)

    turn(**consumers.HASTE)
    yield turn
    sandbox.knobs(clear_faults=True, subscriptions=consumers.SERVICE, **environment.trouble())


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return tmp_path / "checkpoint"


@pytest.fixture(autouse=True)
def no_query_left(request):
    """Stops queries that a failed test left running, since they would disturb the next test."""
    yield
    if "spark" in request.fixturenames:
        for query in request.getfixturevalue("spark").streams.active:
            query.stop()


@pytest.fixture
def closed_port():
    """A port that is reserved for the test, and on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
