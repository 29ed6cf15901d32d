"""The environment of the tests, from environment variables. `scripts/test` sets them all.

SPARK_KINESIS_JAR   the connector's JAR for the Spark of this Python; else the one in build/libs
KINESIS_SANDBOX     the kinesis-sandbox program; else the one in target, of the tests' build or the demo's
KINESIS_TROUBLED    with 1, GetRecords is slow, and one call in five fails
KINESIS_PATIENCE    how many times as long the tests wait before they fail
KINESIS_LOCAL_PACKAGE  the folder of the npm package kinesis-local; else the one in .tools
KINESIS_PACKAGES    the folder of wheel and Maven repository, both with the JARs of the test; else build/packages
KINESIS_NOTEBOOK_PACKAGES  the folder of the notebook's plotting packages; else the one in .tools
KINESIS_CONNECT_PACKAGES   the folder of the packages for a client of Spark Connect; else the one in .tools
"""

import os
import platform
from pathlib import Path

import pyspark

ROOT = Path(__file__).resolve().parents[2]

PACKAGE = "scripts/package --built --to build/packages"

# No result may depend on the machine's settings. The sandbox accepts any keys, and no region is set.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATESTSONLY", "AWS_SECRET_ACCESS_KEY": "secret-of-the-environment"}
AWS_ENVIRONMENT = {
    **CREDENTIALS,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "SPARK_LOCAL_IP": "127.0.0.1",
}


def prepare():
    """Sets this process's environment, which the JVM inherits."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_ENVIRONMENT)


def jar():
    given = os.environ.get("SPARK_KINESIS_JAR")
    found = [Path(given)] if given else sorted((ROOT / "build/libs").glob(f"spark-kinesis-native_{_scala()}-*.jar"))
    if len(found) != 1 or not found[0].is_file():
        raise FileNotFoundError(f"one JAR is needed, found {[str(f) for f in found]}: run scripts/build, or set SPARK_KINESIS_JAR")
    return str(found[0])


def sandbox_program():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / f"{platform.machine()}-unknown-linux-gnu/release/kinesis-sandbox", target / "debug/kinesis-sandbox"]
    return os.environ.get("KINESIS_SANDBOX", str(next(filter(Path.exists, built), built[0])))


def kinesis_local_package():
    return os.environ.get("KINESIS_LOCAL_PACKAGE", str(ROOT / ".tools/kinesis-local/node_modules/kinesis-local"))


def connect_packages():
    return os.environ.get("KINESIS_CONNECT_PACKAGES", str(ROOT / ".tools/connect/packages"))


def notebook_packages():
    return os.environ.get("KINESIS_NOTEBOOK_PACKAGES", str(ROOT / ".tools/notebook/packages"))


def wheel():
    return str(_package("spark_kinesis_native-*.whl"))


def maven_repository():
    return _package("maven")


def coordinates():
    """The connector's Maven coordinates for the Spark of this Python, in the form of --packages."""
    pom = _package(f"maven/io/sparkkinesis/spark-kinesis-native_{_scala()}/*/*.pom")
    return f"io.sparkkinesis:{pom.parent.parent.name}:{pom.parent.name}"


def _package(pattern):
    folder = Path(os.environ.get("KINESIS_PACKAGES", ROOT / "build/packages"))
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"one {pattern} is needed in {folder}, found {[str(f) for f in found]}: run {PACKAGE}")
    return found[0]


def _scala():
    return "2.12" if pyspark.__version__.startswith("3.") else "2.13"


def trouble():
    """The sandbox's knobs at the start of a test."""
    if os.environ.get("KINESIS_TROUBLED") != "1":
        return {}
    # Each probability applies to the calls that the preceding faults spared.
    kinds = [("throttle", 0.1), ("internal", 0.1)]
    faults = [{"operation": "GetRecords", "error": error, "fraction": part} for error, part in kinds]
    return {"faults": faults, "delays": {"GetRecords": 60}}
