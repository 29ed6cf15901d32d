"""Reading and writing streams through Spark, as the tests do it."""

import os
import time
from contextlib import contextmanager

from local_kinesis import REGION, await_condition

from . import consumers


class Batches:
    """A sink for foreachBatch that overwrites by batch id, so that a batch delivered again counts once.

    Rows of a batch are in the order of its partitions, and within a partition in the order they were read.
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

    It reads by the test's `consumer_type`, unless they name another.
    """
    consumer = {} if "consumerType" in more else consumers.options()
    return {
        "kinesis.region": REGION,
        "kinesis.endpointUrl": sandbox.endpoint,
        "kinesis.streamName": stream.name,
        "kinesis.startingPosition": "TRIM_HORIZON",
        # Fifty calls a second and shard instead of five: the sandbox has no limits unless it is told.
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
    """Stops the query at the end; what made it fail is raised rather than what the test then missed."""
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
    """Waits until so many rows were delivered, or the query failed; for as long as a batch comes in so many seconds, since
    how long a backlog has grown is the machine's speed."""
    end = time.monotonic() + 20 * 60
    while len(batches.rows) < count and query.isActive and time.monotonic() < end:
        seen = len(batches.by_id)
        await_condition(
            lambda: len(batches.by_id) > seen or len(batches.rows) >= count or not query.isActive,
            lambda: f"{count} rows, have {len(batches.rows)} in {len(batches.by_id)} batches",
            seconds,
        )
    raise_failure(query)
    assert len(batches.rows) >= count, f"{count} rows, have {len(batches.rows)}, and the query has ended, or came to no end"


def drain(frame, checkpoint, sink=None, seconds=120):
    """Reads what is there with Trigger.AvailableNow, and answers the batches."""
    batches = sink or Batches()
    query = start(frame, batches, checkpoint, availableNow=True)
    with running(query):
        if not query.awaitTermination(seconds):
            raise TimeoutError(f"the query with Trigger.AvailableNow did not end in {seconds} s")
    return batches


def await_looks(sandbox, query, stream, more=1, seconds=60):
    """Waits until the connector looked into the stream so many times more: a query that does has started.

    A look is a GetRecords, or an event of a subscription, which may be empty.
    """

    def looks():
        return sandbox.looks(stream.name) + sandbox.events(stream.name)

    before = looks()
    await_condition(
        lambda: looks() >= before + more or not query.isActive,
        lambda: f"{more} more GetRecords or events of {stream.name}, had {looks() - before}",
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
    """Takes the newest commit away, as if Spark had died just before it; answers which batch's that was."""
    newest = committed_batches(checkpoint)[-1]
    for name in [str(newest), f".{newest}.crc"]:
        os.remove(os.path.join(checkpoint, "commits", name))
    return newest


def sql_metrics(spark, metric="Kinesis prefetch hits"):
    """What the SQL tab shows of the last actions that have this metric, of their scans of streams or writes to them, the newest last."""
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

    # The listener that fills it runs behind.
    return await_condition(scans, "metrics of the scan")
