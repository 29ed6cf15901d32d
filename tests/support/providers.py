"""Classes that give credentials, in a JAR as a user's."""

import shutil
import subprocess
import zipfile
from pathlib import Path

from . import environment

SOURCES = Path(__file__).parent / "java"
# Stands for AWS's SDK for Java 2.
LOOK_ALIKE = environment.ROOT / "jvm/src/test/java/software"


def jar(folder):
    """Compiles them; answers the JAR's path."""
    folder.mkdir()
    classes = folder / "classes"
    sources = [str(path) for root in (SOURCES, LOOK_ALIKE) for path in sorted(root.rglob("*.java"))]
    compiler = shutil.which("javac")
    assert compiler is not None, "javac is needed to compile classes that give credentials"
    subprocess.run(
        [compiler, "--release", "8", "-Xlint:-options", "-cp", environment.jar(), "-d", str(classes), *sources],
        check=True,
    )
    path = folder / "providers.jar"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(classes.rglob("*.class")):
            packed.write(file, file.relative_to(classes))
    return path
