"""Amazon Kinesis for Spark Structured Streaming: the connector's JARs, and the choice of the one for PySpark.

    import spark_kinesis
    from pyspark.sql import SparkSession

    spark = spark_kinesis.configure(SparkSession.builder.appName("events")).getOrCreate()
    spark.readStream.format("aws-kinesis")

spark-submit starts the JVM before Python, so it needs the JAR as an option:
spark-submit --jars "$(python -m spark_kinesis)" job.py
"""

import importlib.metadata
import os
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, Optional, TypeVar

__all__ = ["configure", "jar_path"]

_Builder = TypeVar("_Builder")

_JARS = Path(__file__).resolve().parent / "jars"
_SUPPORTED = "Spark 3.5 (Scala 2.12) and Spark 4 (Scala 2.13)"
# The packages that distribute PySpark. The last one is a Spark Connect client without Spark.
_DISTRIBUTIONS = ("pyspark", "pyspark-connect", "pyspark-client")


def jar_path(spark_version: Optional[str] = None) -> str:
    """The path of the connector's JAR for a Spark version such as "4.1.1", by default that of the installed PySpark.

    Raises RuntimeError with the supported versions for any other Spark, and if PySpark is not installed.
    """
    version = spark_version or _pyspark_version()
    scala = _scala_line(version)
    found = sorted(_JARS.glob(f"spark-kinesis-native_{scala}-*.jar"))
    if len(found) != 1:
        raise RuntimeError(
            f"spark-kinesis-native has no JAR for Spark {version} (Scala {scala}) in {_JARS}: "
            "install it anew, from a wheel that scripts/package built"
        )
    return str(found[0])


def configure(builder: _Builder) -> _Builder:
    """Appends the connector's JAR to the `spark.jars` of a SparkSession's builder, and returns the builder.

    Call it before the session is created. A running JVM can't take a JAR, which causes a warning. With a Spark Connect
    server elsewhere (`remote("sc://…")`), which has its own JARs, the builder stays unchanged; a server that the
    builder starts itself (`remote("local[2]")`) gets the JAR.
    """
    options = dict(getattr(builder, "_options", {}))
    if _elsewhere(str(options.get("spark.remote") or os.environ.get("SPARK_REMOTE", ""))):
        return builder
    jar = jar_path()
    obstacle = _obstacle(jar)
    if obstacle:
        warnings.warn(obstacle, RuntimeWarning, stacklevel=2)
        return builder
    jars = [name for name in str(options.get("spark.jars") or "").split(",") if name]
    if jar not in jars:
        jars.append(jar)
    configurable: Any = builder
    configured: _Builder = configurable.config("spark.jars", ",".join(jars))
    return configured


def _obstacle(jar: str) -> Optional[str]:
    """The reason why `spark.jars` can't add the JAR, with the cure; None if it can, or if the JAR is already there."""
    running = _jars_of_running_jvm()
    submit = shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))
    if running is not None:
        if Path(jar).name in [Path(name).name for name in running.split(",")]:
            return None
        return (
            f"Spark's JVM runs already, so it can't be given {Path(jar).name}: submit with "
            'spark-submit --jars "$(python -m spark_kinesis)", or call spark_kinesis.configure before the first '
            "session of this process. Nothing is to do if the cluster has the JAR."
        )
    if "--jars" in submit and not any(jar in words.split(",") for words in submit):
        return f"PYSPARK_SUBMIT_ARGS has --jars, which Spark takes instead of spark.jars: add {jar} to it."
    return None


def _scala_line(spark_version: str) -> str:
    """The Scala version of the JAR for a Spark version."""
    parsed = re.match(r"(\d+)\.(\d+)", spark_version)
    line = (int(parsed.group(1)), int(parsed.group(2))) if parsed else (0, 0)
    if line == (3, 5):
        return "2.12"
    if line[0] == 4:
        return "2.13"
    raise RuntimeError(f"spark-kinesis-native has no JAR for Spark {spark_version}: {_SUPPORTED} are supported")


def _pyspark_version() -> str:
    # A loaded module is the one that creates sessions, whatever pip has installed.
    loaded = getattr(sys.modules.get("pyspark"), "__version__", None)
    if loaded:
        return str(loaded)
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    # A platform's own PySpark, which pip hasn't installed.
    try:
        import pyspark
    except ImportError:
        raise RuntimeError(
            f"spark-kinesis-native found no PySpark in {sys.prefix}: install pyspark ({_SUPPORTED} are supported), "
            'or name the version: spark_kinesis.jar_path("4.1.1"), python -m spark_kinesis 4.1.1'
        ) from None
    return str(pyspark.__version__)


def _elsewhere(remote: str) -> bool:
    """Whether `remote` is the address of a Spark Connect server that the builder doesn't start."""
    return bool(remote) and not remote.startswith("local")


def _jars_of_running_jvm() -> Optional[str]:
    """The `spark.jars` of this process's running JVM; None if there is no JVM."""
    loaded = sys.modules.get("pyspark")
    context = getattr(loaded, "SparkContext", None)
    # Set if spark-submit or the pyspark shell started this process.
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if context is None or not (submitted or getattr(context, "_jvm", None)):
        return None
    context._ensure_initialized()
    return str(loaded.SparkConf().get("spark.jars", "") or "")  # type: ignore[union-attr]
