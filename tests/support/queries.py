"""Helpers for tests that read and write streams through Spark."""

import os
import time
from contextlib import contextmanager

from local_kinesis import PATIENCE, REGION, await_condition

from . import consumers


class Batches:
    """A sink for foreachBatch that overwrites by batch id, so that a repeated batch counts once.

    Rows of a batch are ordered by partition, and within a partition in the order they were read.
    """

    def __init__(self):
        self.by_id = {}

    def __call__(self, frame, batch_id):
        self.by_id[batch_id] = frame.collect()

    @property
    def rows(self):
        return [row for batch_id in sorted(self.by_id) for row in self.by_id[batch_id]]

    @property
    def data(self):
        """The payloads, as text."""
        return [bytes(row.data).decode() for row in self.rows]


def source_options(sandbox, stream, **more):
    """The options of a read; `more` are kinesis.* options without their prefix.

    The consumer type is the test's `consumer_type`, unless `more` has another.
    """
    consumer = {} if "consumerType" in more else consumers.options()
    return {
        "kinesis.region": REGION,
        "kinesis.endpointUrl": sandbox.endpoint,
        "kinesis.streamName": stream.name,
        "kinesis.startingPosition": "TRIM_HORIZON",
        # Fifty calls per second and shard instead of five. The sandbox's limits are off by default.
        "kinesis.getRecords.fetchIntervalMs": "20",
        **prefixed({**consumer, **more}),
    }


def sink_options(sandbox, stream, **more):
    return {
        "kinesis.region": REGION,
        "kinesis.endpointUrl": sandbox.endpoint,
        "kinesis.streamName": stream.name,
        **prefixed(more),
    }


def prefixed(options):
    return {f"kinesis.{key}": str(value) for key, value in options.items()}


def read(spark, options, name="aws-kinesis"):
    return spark.readStream.format(name).options(**options).load()


def start(frame, sink, checkpoint, **trigger):
    """Starts frame -> foreachBatch(sink)."""
    writer = frame.writeStream.foreachBatch(sink).option("checkpointLocation", str(checkpoint))
    return (writer.trigger(**trigger) if trigger else writer).start()


@contextmanager
def running(query):
    """Stops the query at the end. If the query failed, raises its error rather than the test's subsequent one."""
    try:
        yield query
    except TimeoutError:
        raise_failure(query)
        raise
    finally:
        query.stop()
    raise_failure(query)


def raise_failure(query):
    failure = query.exception()
    if failure is not None:
        raise failure


def await_rows(query, batches, count, seconds=60):
    """Waits until `count` rows were delivered, or the query failed. Waits as long as a batch arrives at least every
    `seconds` seconds, since the size of a backlog depends on the machine's speed."""
    end = time.monotonic() + 20 * 60 * PATIENCE
    while len(batches.rows) < count and query.isActive and time.monotonic() < end:
        seen = len(batches.by_id)
        await_condition(
            lambda: len(batches.by_id) > seen or len(batches.rows) >= count or not query.isActive,
            lambda: f"{count} rows, have {len(batches.rows)} in {len(batches.by_id)} batches",
            seconds,
        )
    raise_failure(query)
    assert len(batches.rows) >= count, f"{count} rows, have {len(batches.rows)}, and the query has ended, or came to no end"


def await_end(query, seconds=60):
    """Like awaitTermination, with the tests' patience: whether the query has ended; raises its error."""
    return query.awaitTermination(seconds * PATIENCE)


def drain(frame, checkpoint, sink=None, seconds=120):
    """Reads the available records with Trigger.AvailableNow, and returns the batches."""
    batches = sink or Batches()
    query = start(frame, batches, checkpoint, availableNow=True)
    with running(query):
        if not await_end(query, seconds):
            raise TimeoutError(f"the query with Trigger.AvailableNow did not end in {seconds * PATIENCE} s")
    return batches


def await_probes(sandbox, query, stream, more=1, seconds=60):
    """Waits until the connector has read the stream `more` further times; a query that does has started.

    A read is a GetRecords call, or an event of a subscription, which may be empty.
    """

    def probes():
        return sandbox.probes(stream.name) + sandbox.events(stream.name)

    before = probes()
    await_condition(
        lambda: probes() >= before + more or not query.isActive,
        lambda: f"{more} more GetRecords or events of {stream.name}, had {probes() - before}",
        seconds,
    )
    raise_failure(query)


def planned_batches(checkpoint):
    """The ids of all batches in Spark's offset log."""
    folder = os.path.join(checkpoint, "offsets")
    return sorted(int(name) for name in os.listdir(folder) if name.isdigit()) if os.path.isdir(folder) else []


def committed_batches(checkpoint):
    folder = os.path.join(checkpoint, "commits")
    return sorted(int(name) for name in os.listdir(folder) if name.isdigit()) if os.path.isdir(folder) else []


def event(number, key="k"):
    """A numbered record."""
    return f"{key}-{number % 16}", f"event-{number:06d}".encode()


def events(first, count):
    return [event(number) for number in range(first, first + count)]


def payloads(records):
    return sorted(record[1].decode() for record in records)


def texts_by_batch(batches):
    """The payloads in each batch of a `Batches`, sorted."""
    return {batch_id: sorted(bytes(row.data).decode() for row in rows) for batch_id, rows in batches.by_id.items()}


def forget_commit(checkpoint):
    """Deletes the newest commit, as if Spark had died just before it, and returns that batch's id."""
    newest = committed_batches(checkpoint)[-1]
    for name in [str(newest), f".{newest}.crc"]:
        os.remove(os.path.join(checkpoint, "commits", name))
    return newest


def sql_metrics(spark, metric="Kinesis prefetch hits"):
    """The SQL tab's metrics of the stream scans or writes of the last actions that have `metric`, the newest last."""
    store = spark._jsparkSession.sharedState().statusStore()

    def shown(execution):
        values = store.executionMetrics(execution.executionId())
        metrics = [execution.metrics().apply(n) for n in range(execution.metrics().size())]
        named = {m.name(): values.get(m.accumulatorId()).get() for m in metrics if values.contains(m.accumulatorId())}
        return {name: value for name, value in named.items() if name.startswith("Kinesis")}

    def scans():
        executions = store.executionsList()
        newest = range(max(0, executions.size() - 20), executions.size())
        return [scan for n in newest if metric in (scan := shown(executions.apply(n)))]

    # The listener that fills the SQL tab is asynchronous.
    return await_condition(scans, "metrics of the scan")
