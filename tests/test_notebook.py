"""Runs the notebook in examples, cell by cell, on the newest line of Spark."""

import json
from collections import Counter

import pyspark
import pytest
from local_kinesis import REGION

from support import environment
from support.countries import country, country_events
from support.processes import JOBS, Program, spark_submit

pytestmark = pytest.mark.slow

EVENTS = 300
PNG = b"\x89PNG\r\n\x1a\n"

if not pyspark.__version__.startswith("3."):

    def test_the_notebook_counts_and_draws(sandbox, stream, tmp_path, monkeypatch):
        stream.put(country_events(0, EVENTS))
        for name, value in {"REGION": REGION, "STREAM": stream.name, "ENDPOINT": sandbox.endpoint, "SECONDS": "300"}.items():
            monkeypatch.setenv(f"KINESIS_{name}", value)
        picture = tmp_path / "lag.png"
        arguments = {"notebook": str(environment.ROOT / "examples/lag.ipynb"), "events": EVENTS, "picture": str(picture)}
        command = spark_submit(
            "--master", "local[2]", "--jars", environment.jar(), "--conf", "spark.ui.enabled=false",
            "--conf", "spark.sql.shuffle.partitions=2", str(JOBS / "notebook.py"), json.dumps(arguments),
        )  # fmt: skip
        with Program(command, tmp_path / "log", path=[environment.notebook_packages()]) as job:
            assert job.wait(300) == 0, job.tail()
            done = next(line for line in job.log.read_text().splitlines() if line.startswith("DONE "))
        result = json.loads(done.removeprefix("DONE "))
        counted = sum(map(Counter, result["by_batch"]), Counter())
        assert counted == Counter(country(number) for number in range(EVENTS))
        assert result["lag"]
        assert picture.read_bytes().startswith(PNG)
