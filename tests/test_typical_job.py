"""The main job: read, transform, write, restart."""

import pytest
from local_kinesis import REGION, await_condition

from support import typical_job
from support.countries import copied, country_events, expected
from support.queries import await_probes, raise_failure, running


def await_records(query, stream, count):
    await_condition(
        lambda: len(stream.read()) >= count or not query.isActive,
        lambda: f"{count} records in {stream.name}, has {len(stream.read())}",
        interval=0.2,
    )
    raise_failure(query)


@pytest.mark.parametrize("name", ["aws-kinesis", "aws-kinesis-native"])
def test_every_event_arrives_once(spark, sandbox, new_stream, checkpoint, name):
    source, sink = new_stream(4, "kinesis-source"), new_stream(2, "kinesis-sink")
    query = typical_job.start(spark, source.name, sink.name, REGION, sandbox.endpoint, checkpoint, name)
    with running(query):
        await_probes(sandbox, query, source)
        for first in range(0, 300, 100):
            source.put(country_events(first, 100))
            await_records(query, sink, first + 100)
    assert copied(sink.read()) == expected(0, 300)


def test_it_goes_on_after_a_stop(spark, sandbox, new_stream, checkpoint):
    source, sink = new_stream(2, "kinesis-source"), new_stream(1, "kinesis-sink")

    def start():
        return typical_job.start(spark, source.name, sink.name, REGION, sandbox.endpoint, checkpoint)

    query = start()
    with running(query):
        await_probes(sandbox, query, source)
        source.put(country_events(0, 50))
        await_records(query, sink, 50)
        # Two further reads of the stream, after which the last batch is over and won't be written again.
        await_probes(sandbox, query, source, more=2)
    source.put(country_events(50, 50))
    query = start()
    with running(query):
        source.put(country_events(100, 50))
        await_records(query, sink, 150)
    assert copied(sink.read()) == expected(0, 150)
