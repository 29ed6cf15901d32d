"""The packages of scripts/package, as users install them: the wheel by pip, the Maven repository by --packages."""

import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pyspark
import pytest

from support import environment
from support.submitted import InstalledJob, PackagedJob, copies_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, environment.wheel()], check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture
def python(site):
    """A function that runs a Python with the wheel, with `more` environment variables. Warnings are errors."""

    def run(*arguments, **more):
        command = [sys.executable, "-W", "error::RuntimeWarning", *arguments]
        env = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(command, env={**env, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    return run


# PySpark 3.5 doesn't include Spark Connect's server.
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


def test_the_repository_is_complete():
    group, artifact, version = environment.coordinates().split(":")
    place = environment.maven_repository() / group.replace(".", "/") / artifact / version
    files = [place / f"{artifact}-{version}{end}" for end in (".jar", ".pom", "-sources.jar", "-javadoc.jar")]
    assert files[0].read_bytes() == Path(environment.jar()).read_bytes()
    for file in files:
        for kind in ("md5", "sha1", "sha256", "sha512"):
            assert Path(f"{file}.{kind}").read_text() == hashlib.new(kind, file.read_bytes()).hexdigest()
    pom = ET.parse(files[1]).getroot()
    maven = {"": "http://maven.apache.org/POM/4.0.0"}
    for element in ("name", "description", "url", "licenses/license/url", "developers/developer/name", "scm/connection", "scm/url"):
        assert pom.findtext(element, namespaces=maven), element
    assert pom.findtext("version", namespaces=maven) == version
    assert [scope.text for scope in pom.findall("dependencies/dependency/scope", maven)] == ["provided"]
    assert "@" not in files[1].read_text()


def test_nothing_in_the_jar_is_of_the_machine_that_built_it():
    """The JAR contains neither dates nor effects of the umask, so that its build is reproducible."""
    with zipfile.ZipFile(environment.jar()) as jar:
        entries = jar.infolist()
    assert {entry.date_time[:3] for entry in entries} == {(1980, 2, 1)}
    assert {oct(entry.external_attr >> 16 & 0o777) for entry in entries} == {"0o644", "0o755"}
    assert {entry.is_dir() for entry in entries if entry.external_attr >> 16 & 0o777 == 0o755} == {True}


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
def test_another_spark_gets_a_message_with_what_is_supported(python, version):
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
