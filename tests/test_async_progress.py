"""Spark's asynchronous progress tracking: the offset log is written beside the batches, at most once per interval."""

import pytest
from local_kinesis import await_condition

from support.queries import events, planned_batches, read, source_options


@pytest.mark.parametrize("interval", [0, 3_600_000])
def test_a_query_stops_and_starts_again(spark, sandbox, new_stream, checkpoint, interval):
    stream = new_stream(2)
    frame = read(spark, source_options(sandbox, stream))

    def start():
        writer = frame.writeStream.format("noop").option("checkpointLocation", str(checkpoint))
        writer = writer.option("asyncProgressTrackingEnabled", "true")
        return writer.option("asyncProgressTrackingCheckpointIntervalMs", str(interval)).trigger(processingTime="0 seconds").start()

    delivered = 0
    for run in range(3):
        query = start()
        rows = lambda: sum(progress["numInputRows"] for progress in query.recentProgress)  # noqa: E731, B023
        for n in range(5):
            stream.put(events(50 * run + 10 * n, 10))
            await_condition(lambda: rows() >= 10 * (n + 1) or not query.isActive, "the rows")  # noqa: B023
        await_condition(lambda: planned_batches(checkpoint), "a batch in the log")
        query.stop()
        failure = query.exception()
        # Spark's own queue of logs to write may be full when the query is stopped.
        assert failure is None or "Producer interrupted" in str(failure)
        delivered += rows()
        active = spark.streams.active
        assert query.id not in [other.id for other in active], "the query has ended for Spark, too"
    assert delivered >= 150
