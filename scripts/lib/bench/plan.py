"""Cost of a large number of shards: planning a batch over them, and running one."""

import os
import time

from local_kinesis import Sandbox, Stream, await_condition

from . import Requests, heap_megabytes, jvm_pid, resident_megabytes, scratch, session, source

MANY, SOME, BUSY, RECORDS = 10_000, 1_000, 200, 100
PLANS = 6


def show(what, figures):
    print(f"{what:<58} {figures}", flush=True)


def memory(spark):
    return f"heap {heap_megabytes(spark):6.0f} MB   resident {resident_megabytes(jvm_pid(spark)):6.0f} MB"


def offset_bytes(checkpoint):
    """Size of the newest entry of Spark's offset log."""
    folder = f"{checkpoint}/offsets"
    newest = max((name for name in os.listdir(folder) if name.isdigit()), key=int)
    return os.path.getsize(f"{folder}/{newest}")


def seconds(progress, *phases):
    return sum(progress["durationMs"].get(phase, 0) for phase in phases) / 1000


def planned(query, batches):
    """The progress of `batches` batches, in their order."""

    def done():
        found = {progress["batchId"]: progress for progress in query.recentProgress if progress["durationMs"].get("addBatch")}
        return len(found) >= batches and [found[batch] for batch in sorted(found)]

    progress = await_condition(lambda: done() or not query.isActive, f"{batches} batches", 600)
    if query.exception():
        raise query.exception()
    return progress


def plans(spark, sandbox, work):
    """Plans batches over many shards without reading them. Each batch covers the records that the previous one left."""
    stream = Stream.create(sandbox.client, "many-shards", MANY)
    stream.put([("key", b"news", "0")])
    show(f"before a query on {MANY} shards", memory(spark))
    tasks = []

    def plan_tasks(frame, _):
        began = time.monotonic()
        count = frame._jdf.queryExecution().toRdd().getNumPartitions()
        tasks.append((count, time.monotonic() - began))

    requests = Requests(sandbox)
    query = source(spark, sandbox, stream, "TRIM_HORIZON").writeStream.foreachBatch(plan_tasks)
    query = query.option("checkpointLocation", f"{work}/many").start()
    progress = planned(query, PLANS)
    show(f"memory after {PLANS} plans", memory(spark))
    query.stop()
    first, warm = progress[0], progress[1:]
    show("first plan: list the shards, look for news", f"{seconds(first, 'latestOffset'):6.2f} s")
    show("a warm plan", f"{sum(seconds(p, 'latestOffset') for p in warm) / len(warm):6.2f} s")
    show(f"the tasks of a batch ({tasks[0][0]})", f"{sum(took for _, took in tasks) / len(tasks):6.2f} s")
    size = offset_bytes(f"{work}/many")
    show("an offset, no shard read yet", f"{size:8d} bytes   {size / MANY:6.1f} a shard")
    show(f"requests of {PLANS} plans", requests)
    stream.delete()


def busy_records(stream):
    """Records for the first shards, each with a hash key in its shard."""
    shards = stream.shards(open_only=True)[:BUSY]
    return [
        (f"key-{n}", os.urandom(100), shard["HashKeyRange"]["StartingHashKey"]) for n in range(RECORDS) for shard in shards
    ]


def full_batches(spark, sandbox, work):
    """Runs batches over some shards, part of them with records, into the noop sink."""
    stream = Stream.create(sandbox.client, "some-shards", SOME)
    records = busy_records(stream)
    query = source(spark, sandbox, stream, "TRIM_HORIZON").writeStream.format("noop")
    stream.put(records)
    query = query.option("checkpointLocation", f"{work}/some")
    requests = Requests(sandbox)
    query = query.start()
    read = await_rows(query, len(records))
    show(f"first batches: {SOME} shards, {BUSY} with {RECORDS} records each", f"{describe(read)}   {requests}")
    requests = Requests(sandbox)
    stream.put(records)
    read = await_rows(query, len(records), before=len(records))
    show("the same again", f"{describe(read)}   {requests}")
    query.stop()
    size = offset_bytes(f"{work}/some")
    show("an offset, a part of the shards read", f"{size:8d} bytes   {size / SOME:6.1f} a shard")


def await_rows(query, count, before=0):
    """The progress of the batches that delivered `count` rows after the first `before` rows."""

    def delivered():
        found = {progress["batchId"]: progress for progress in query.recentProgress if progress["numInputRows"]}
        rows = sum(progress["numInputRows"] for progress in found.values())
        return rows >= before + count and list(found.values())

    found = await_condition(lambda: delivered() or not query.isActive, f"{count} rows", 900)
    if query.exception():
        raise query.exception()
    skipped, chosen = 0, []
    for progress in found:
        if skipped >= before:
            chosen.append(progress)
        skipped += progress["numInputRows"]
    return chosen


def describe(batches):
    took = sum(seconds(progress, "triggerExecution") for progress in batches)
    rows = sum(progress["numInputRows"] for progress in batches)
    return f"{took:6.2f} s   {rows} rows in {len(batches)} batch(es)"


def main():
    with Sandbox(os.environ["KINESIS_SANDBOX"], "--shard-limit", str(MANY + SOME)) as sandbox, scratch() as work:
        spark = session()
        plans(spark, sandbox, work)
        full_batches(spark, sandbox, work)
        spark.stop()


if __name__ == "__main__":
    main()
