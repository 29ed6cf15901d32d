"""What scripts/package makes, as its users take it: the wheel by pip, the Maven repository by --packages."""

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from support import environment
from support.submitted import InstalledJob, PackagedJob, copies_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, environment.wheel()], check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture
def python(site):
    """Runs a Python that has the wheel, with more of the environment; its warnings are errors."""

    def run(*arguments, **more):
        command = [sys.executable, "-W", "error::RuntimeWarning", *arguments]
        env = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(command, env={**env, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    return run


# PySpark 3.5 comes without Spark Connect's server.
CONNECT = [False] if pyspark.__version__.startswith("3.") else [False, True]


@pytest.mark.parametrize("connect", CONNECT, ids=lambda connect: "connect" if connect else "classic")
def test_the_typical_job_with_the_wheel(sandbox, new_stream, checkpoint, tmp_path, site, connect):
    source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")
    with InstalledJob(sandbox, source, sink, checkpoint, tmp_path, site, connect) as job:
        copies_all(sandbox, source, job)


def test_the_typical_job_with_packages(sandbox, new_stream, checkpoint, tmp_path):
    source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")
    with PackagedJob(sandbox, source, sink, checkpoint, tmp_path) as job:
        copies_all(sandbox, source, job)


def test_the_wheel_has_the_jar_under_test(python):
    found = python("-m", "spark_kinesis")
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.rstrip("\n")).read_bytes() == Path(environment.jar()).read_bytes()


@pytest.mark.parametrize("version, scala", [("3.5.0", "2.12"), ("4.0.2", "2.13"), ("4.1.0.dev1", "2.13"), ("4.3.0", "2.13")])
def test_each_spark_has_its_jar(python, version, scala):
    found = python("-m", "spark_kinesis", version)
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.rstrip("\n")).name.startswith(f"spark-kinesis-native_{scala}-")


@pytest.mark.parametrize("version", ["3.4.1", "2.4.8", "5.0.0", "newest"])
def test_another_spark_is_told_what_is_supported(python, version):
    found = python("-m", "spark_kinesis", version)
    assert found.returncode == 1
    assert found.stderr == (
        f"error: spark-kinesis-native has no JAR for Spark {version}: "
        "Spark 3.5 (Scala 2.12) and Spark 4 (Scala 2.13) are supported\n"
    )


CONFIGURE = """
import spark_kinesis, sys
assert "pyspark" not in sys.modules
from pyspark.sql import SparkSession
builder = spark_kinesis.configure({builder})
print(builder._options.get("spark.jars"))
"""


@pytest.mark.parametrize("before", ["", "/a.jar", "s3://bucket/a.jar,/b.jar"])
def test_configure_keeps_the_jars_that_are_there(python, before):
    configured = python("-c", CONFIGURE.format(builder=f"SparkSession.builder.config('spark.jars', {before!r})"))
    assert configured.returncode == 0, configured.stderr
    *kept, ours = configured.stdout.strip().split(",")
    assert ",".join(kept) == before
    assert Path(ours).name == Path(environment.jar()).name


def test_configure_twice_adds_one_jar(python):
    configured = python("-c", CONFIGURE.format(builder="spark_kinesis.configure(SparkSession.builder)"))
    assert configured.returncode == 0, configured.stderr
    assert configured.stdout.count(".jar") == 1


def test_a_server_elsewhere_keeps_its_own_jars(python):
    configured = python("-c", CONFIGURE.format(builder="SparkSession.builder.remote('sc://127.0.0.1:1')"))
    assert (configured.stdout, configured.stderr) == ("None\n", "")


def test_jars_that_come_before_the_builders_are_a_warning(python):
    code = CONFIGURE.format(builder="SparkSession.builder")
    configured = python("-c", code, PYSPARK_SUBMIT_ARGS="--jars /a.jar pyspark-shell")
    assert configured.returncode == 1
    assert "RuntimeWarning: PYSPARK_SUBMIT_ARGS has --jars, which Spark takes instead of spark.jars: add /" in configured.stderr
    jar = python("-m", "spark_kinesis").stdout.strip()
    configured = python("-c", code, PYSPARK_SUBMIT_ARGS=f"--jars /a.jar,{jar} pyspark-shell")
    assert configured.returncode == 0, configured.stderr


def test_a_jvm_that_runs_without_the_jar_is_a_warning(python):
    configured = python("-c", "from pyspark import SparkContext; SparkContext._ensure_initialized()" + CONFIGURE.format(
        builder="SparkSession.builder").replace('assert "pyspark" not in sys.modules', ""))
    assert configured.returncode == 1
    assert "RuntimeWarning: Spark's JVM runs already, so it can't be given spark-kinesis-native_" in configured.stderr
    assert 'submit with spark-submit --jars "$(python -m spark_kinesis)"' in configured.stderr
