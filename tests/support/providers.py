"""A user's JAR with classes for jobs: credentials providers and a file system."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pyspark

from . import environment

SOURCES = Path(__file__).parent / "java"
HADOOP = Path(pyspark.__file__).parent / "jars"
# Stand-in for AWS's SDK for Java 2.
LOOK_ALIKE = environment.ROOT / "jvm/src/test/java/software"


def jar(folder):
    """Compiles the classes into a JAR, and returns its path."""
    folder.mkdir()
    classes = folder / "classes"
    sources = [str(path) for root in (SOURCES, LOOK_ALIKE) for path in sorted(root.rglob("*.java"))]
    compiler = shutil.which("javac")
    assert compiler is not None, "javac is needed to compile a job's classes"
    class_path = os.pathsep.join([environment.jar(), *map(str, HADOOP.glob("hadoop-client-*.jar"))])
    subprocess.run(
        [compiler, "--release", "8", "-Xlint:-options", "-cp", class_path, "-d", str(classes), *sources],
        check=True,
    )
    path = folder / "providers.jar"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(classes.rglob("*.class")):
            packed.write(file, file.relative_to(classes))
    return path
