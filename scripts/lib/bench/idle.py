"""Cost of a query on an idle stream: requests, whose rate decreases, and batches, of which there must be none."""

import os
import time

from local_kinesis import Sandbox, Stream, await_condition

from . import Requests, arguments, scratch, session, source

SHARDS, SECONDS, INTERVAL = 8, 300, 60


def planned_batches(checkpoint):
    return sum(name.isdigit() for name in os.listdir(f"{checkpoint}/offsets"))


def main():
    asked = arguments("idle", seconds=SECONDS, consumer="GetRecords", trigger=0)
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        stream = Stream.create(sandbox.client, "idle", SHARDS)
        stream.put([(f"key-{n}", b"before the idle time") for n in range(100)])
        rows = []
        query = source(spark, sandbox, stream, "TRIM_HORIZON", asked.consumer).writeStream
        query = query.foreachBatch(lambda frame, _: rows.extend(frame.collect()))
        query = query.trigger(processingTime=f"{asked.trigger} seconds")
        query = query.option("checkpointLocation", f"{work}/query").start()
        patience = 60 + 3 * asked.trigger
        await_condition(lambda: len(rows) == 100 or not query.isActive, "the first records", patience)
        began, batches = time.monotonic(), planned_batches(f"{work}/query")
        print(f"{asked.consumer}, a trigger of {asked.trigger} s, {SHARDS} shards", flush=True)
        while (passed := time.monotonic() - began) < asked.seconds and query.isActive:
            requests = Requests(sandbox)
            time.sleep(min(INTERVAL, asked.seconds - passed))
            until = time.monotonic() - began
            sent = sum(requests.counts().values())
            print(
                f"second {passed:4.0f} to {until:4.0f}: {sent:6d} requests, {sent / SHARDS / (until - passed) * 60:6.1f} a shard and minute"
                f"   {planned_batches(f'{work}/query') - batches} batches since the start   {requests}",
                flush=True,
            )
        query.stop()
        if query.exception():
            raise query.exception()
        spark.stop()


if __name__ == "__main__":
    main()
