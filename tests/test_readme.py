"""Runs the job of README.md as it is."""

import json
import re
import shlex
from pathlib import Path

import pytest
from local_kinesis import Stream

from support import environment
from support.processes import Program, spark_submit

pytestmark = pytest.mark.slow

README = (environment.ROOT / "README.md").read_text()


def job_of_readme():
    code = re.search(r"## Use\n\n```python\n(.*?)```", README, re.S).group(1)
    command = re.search(r"\n    (spark-submit .*job\.py)\n", README).group(1)
    return code, shlex.split(command)


def event(number):
    return str(number), json.dumps({"id": number, "data": f"event-{number}", "date": "2026-08-30T19:00:05Z"}).encode()


BAD = [("x", b"this is no JSON"), ("x", b'{"id": 7'), ("x", b'{"data": "no id"}'), ("x", b'{"id": 8}'), ("x", b"[]"), ("x", b"")]


def test_it_runs_as_it_stands_and_survives_events_that_are_none(sandbox, tmp_path):
    code, command = job_of_readme()
    # Fills in only the values that a reader would: the service's address, and a folder for the checkpoint.
    code, places = re.subn(r'("kinesis\.region", "us-east-1"\))', rf'\1\n    .option("kinesis.endpointUrl", "{sandbox.endpoint}")', code)
    assert places == 2
    code, places = re.subn('"/checkpoints/events"', json.dumps(str(tmp_path / "checkpoint")), code)
    assert places == 1
    (tmp_path / "job.py").write_text(code)
    jars = {command[command.index("--jars") + 1], *re.findall(r'"([^"]*\.jar)"', code)}
    for jar in jars:
        (tmp_path / jar).symlink_to(Path(environment.jar()))

    source = Stream.create(sandbox.client, "kinesis-source", 2)
    sink = Stream.create(sandbox.client, "kinesis-sink", 1)
    try:
        with Program(spark_submit(*command[1:]), tmp_path / "job.log", cwd=tmp_path) as job:
            job.await_condition(lambda: sandbox.probes(source.name) >= 2, "the query's start", seconds=180)
            source.put([event(1), *BAD, event(2)])
            job.await_condition(lambda: len(sink.read()) >= 2, "two events", interval=0.2)
            source.put([event(3)])
            job.await_condition(lambda: len(sink.read()) >= 3, "an event after those that are none", interval=0.2)
        written = sorted((record["PartitionKey"], record["Data"]) for record in sink.read())
        assert written == [(str(number), f"event-{number}".encode()) for number in (1, 2, 3)]
    finally:
        source.delete()
        sink.delete()
