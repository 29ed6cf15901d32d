"""A JAR that is added after the session's start: ADD JAR of spark-sql, the Thrift server and notebooks."""

import json
import sys

import pytest

from support import environment
from support.processes import JOBS, Program
from support.queries import events, sink_options, source_options

pytestmark = pytest.mark.slow


def test_a_jar_that_is_added_to_a_running_session(sandbox, new_stream, checkpoint, tmp_path):
    source, sink = new_stream(2), new_stream(1)
    source.put(events(0, 20))
    arguments = {
        "jar": environment.jar(),
        "source": source_options(sandbox, source),
        "sink": sink_options(sandbox, sink),
        "checkpoint": str(checkpoint),
    }
    command = [sys.executable, str(JOBS / "added_jar.py"), json.dumps(arguments)]
    with Program(command, tmp_path / "job.log") as job:
        assert job.wait() == 0, job.tail()
        assert "ROWS 20" in job.tail(100_000), job.tail()
    assert len(sink.read()) == 20
