"""What a query costs on a stream that nothing is put into: requests, which grow fewer, and batches, which there are none."""

import argparse
import os
import time

from local_kinesis import Sandbox, Stream, await_condition

from . import calls_by_operation, scratch, session, source

SHARDS, SECONDS, INTERVAL = 8, 300, 60


def planned_batches(checkpoint):
    return sum(name.isdigit() for name in os.listdir(f"{checkpoint}/offsets"))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench idle")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"how long to stay idle (default {SECONDS})")
    idle = parser.parse_args().seconds
    with Sandbox(os.environ["KINESIS_SANDBOX"]) as sandbox, scratch() as work:
        spark = session()
        stream = Stream.create(sandbox.client, "idle", SHARDS)
        stream.put([(f"key-{n}", b"before the idle time") for n in range(100)])
        rows = []
        query = source(spark, sandbox, stream, "TRIM_HORIZON").writeStream
        query = query.foreachBatch(lambda frame, _: rows.extend(frame.collect()))
        query = query.option("checkpointLocation", f"{work}/query").start()
        await_condition(lambda: len(rows) == 100 or not query.isActive, "the first records")
        began, batches = time.monotonic(), planned_batches(f"{work}/query")
        before = calls_by_operation(sandbox)
        while (passed := time.monotonic() - began) < idle and query.isActive:
            wait = min(INTERVAL, idle - passed)
            time.sleep(wait)
            now = calls_by_operation(sandbox)
            calls = {name: count - before.get(name, 0) for name, count in now.items() if count != before.get(name, 0)}
            requests = sum(calls.values())
            made = planned_batches(f"{work}/query") - batches
            until = time.monotonic() - began
            print(
                f"second {passed:4.0f} to {until:4.0f}, {SHARDS} shards: {requests:6d} requests, {requests / (until - passed):6.1f} a second"
                f"   {made} batches since the start   {calls}",
                flush=True,
            )
            before = now
        query.stop()
        if query.exception():
            raise query.exception()
        spark.stop()


if __name__ == "__main__":
    main()
