"""The JAR of the other Scala line, which people use by mistake."""

import json
import sys
from pathlib import Path

import pyspark
import pytest

from support import environment
from support.processes import JOBS, Program

pytestmark = pytest.mark.slow


def test_the_other_lines_jar_names_the_right_one(tmp_path):
    right = Path(environment.jar()).name
    lines = ("2.12", "2.13")
    [line] = [line for line in lines if f"_{line}-" in right]
    [other] = set(lines) - {line}
    wrong = Path(environment.jar()).with_name(right.replace(f"_{line}-", f"_{other}-"))
    assert wrong.is_file(), f"{wrong}: both JARs are built together"
    command = [sys.executable, str(JOBS / "loaded.py"), json.dumps({"jar": str(wrong)})]
    with Program(command, tmp_path / "log") as program:
        assert program.wait() == 0, program.tail()
        said = [line for line in program.tail(100_000).splitlines() if line.startswith(("LOADED", "REFUSED"))]
    assert len(said) == 2, program.tail()
    for refusal in said:
        for part in (f"made for Scala {other}", f"Spark {pyspark.__version__}", right):
            assert refusal.startswith("REFUSED") and part in refusal, refusal
