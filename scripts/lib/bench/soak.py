"""Long run of enhanced fan-out with all kinds of failures of its subscriptions. Checks that all records arrive once."""

import collections
import random
import threading
import time

from local_kinesis import Stream, await_condition

from . import arguments, heap_megabytes, jvm_pid, resident_megabytes, scratch, session, source, tls_sandbox

SHARDS, MINUTES = 8, 20
LIFETIME_SECONDS = 60
# Records per put, and the pause between puts: 200 records per second.
AT_ONCE, PAUSE_SECONDS = 20, 0.1
FAULT_SECONDS = 2

# Failures of an open subscription, with their relative frequency. Silent ones take 40 seconds to be detected.
OPEN = [
    (4, "cut"),
    (4, "reset"),
    (1, "stall"),
    (1, "half_open"),
    (4, "half_event"),
    (2, {"drip": {"bytes": 400, "delay_ms": 10}}),
    (4, {"exception": "InternalFailureException"}),
]
# Failures of calls.
CALLS = ["internal", "throttle", "ResourceInUseException", "drop"]


class Background(threading.Thread):
    """Runs an action every `seconds` seconds until it is stopped, and then raises the action's error."""

    def __init__(self, seconds, action):
        super().__init__(daemon=True)
        self._seconds, self._action, self._over, self._wrong = seconds, action, threading.Event(), None

    def run(self):
        due = time.monotonic()
        try:
            while not self._over.wait(max(0, due - time.monotonic())):
                due += self._seconds
                self._action()
        except Exception as wrong:
            self._wrong = wrong

    def stop(self):
        self._over.set()
        self.join()
        if self._wrong:
            raise self._wrong


class Producer:
    """Puts numbered records."""

    def __init__(self, stream):
        self._stream, self.count = stream, 0

    def put(self):
        numbers = range(self.count, self.count + AT_ONCE)
        self._stream.put([(f"key-{number % 97}", str(number).encode()) for number in numbers])
        self.count += AT_ONCE


class Troubles:
    """Injects failures: fails calls, and breaks an open subscription."""

    def __init__(self, sandbox, stream):
        self._sandbox = sandbox
        self._shards = [shard["ShardId"] for shard in stream.shards()]
        self.met = collections.Counter()

    def strike(self):
        (fault,) = random.choices([fault for _, fault in OPEN], [weight for weight, _ in OPEN])
        call = random.choice(CALLS)
        self._sandbox.knobs(
            subscription_faults=[
                {"fault": fault, "shard": random.choice(self._shards), "open": True, "after_events": random.randrange(5), "count": 1}
            ],
            faults=[{"operation": "SubscribeToShard", "error": call, "count": 1}] if random.random() < 0.5 else [],
        )
        self.met[fault if isinstance(fault, str) else next(iter(fault))] += 1


class Sink:
    """Stores each batch's numbers. A repeated batch replaces the first."""

    def __init__(self):
        self.batches, self.again = {}, 0

    def write(self, frame, batch):
        numbers = [int(row.data) for row in frame.select("data").collect()]
        self.again += batch in self.batches
        self.batches[batch] = numbers

    def rows(self):
        return sum(map(len, list(self.batches.values())))

    def judge(self, count):
        """How many of the numbers below `count` are missing, and how many surplus copies arrived."""
        seen = collections.Counter(number for numbers in self.batches.values() for number in numbers)
        return sum(number not in seen for number in range(count)), sum(times - 1 for times in seen.values())


def minutely(spark, sandbox, stream, producer, sink, query, began):
    metrics = (query.lastProgress or {"sources": [{}]})["sources"][0].get("metrics", {})
    shards = sandbox.stats()["streams"][stream.name].values()
    # Resident memory after the garbage collection, or garbage would count too.
    heap, resident = heap_megabytes(spark), resident_megabytes(jvm_pid(spark))
    print(
        f"minute {(time.monotonic() - began) / 60:4.1f}   resident {resident:6.0f} MB   heap {heap:5.0f} MB"
        f"   {metrics.get('bufferedBytes', '-'):>7} bytes buffered   {sum(s['subscriptions'] for s in shards) - SHARDS:5d} resubscriptions"
        f"   {producer.count:7d} put   {sink.rows():7d} rows in {len(sink.batches):6d} batches",
        flush=True,
    )
    return resident


def main():
    minutes = arguments("soak", minutes=MINUTES).minutes
    with scratch() as work, tls_sandbox(work) as sandbox:
        spark = session()
        stream = Stream.create(sandbox.client, "soak", SHARDS)
        sandbox.knobs(subscriptions={"lifetime_ms": LIFETIME_SECONDS * 1000})
        producer, troubles, sink, failures = Producer(stream), Troubles(sandbox, stream), Sink(), 0

        def start():
            query = source(spark, sandbox, stream, "TRIM_HORIZON", "SubscribeToShard").writeStream.foreachBatch(sink.write)
            return query.option("checkpointLocation", f"{work}/query").start()

        query, began, resident = start(), time.monotonic(), []
        background = [Background(PAUSE_SECONDS, producer.put), Background(FAULT_SECONDS, troubles.strike)]
        for thread in background:
            thread.start()
        shown = 0
        while time.monotonic() - began < minutes * 60:
            time.sleep(1)
            if not query.isActive:
                failures += 1
                print(f"the query failed: {query.exception()}", flush=True)
                query = start()
            if time.monotonic() - began >= (shown + 1) * 60:
                shown += 1
                resident.append(minutely(spark, sandbox, stream, producer, sink, query, began))
        for thread in background:
            thread.stop()
        sandbox.knobs(clear_faults=True)
        try:
            await_condition(lambda: sink.rows() >= producer.count or not query.isActive, "the last records", 180)
        except TimeoutError as late:
            print(late, flush=True)
        resident.append(minutely(spark, sandbox, stream, producer, sink, query, began))
        query.stop()
        print(f"befell open subscriptions: {dict(troubles.met)}; SubscribeToShard: {sandbox.stats()['operations']['SubscribeToShard']}")
        lost, repeated = sink.judge(producer.count)
        print(f"{producer.count} records in {len(sink.batches)} batches, {sink.again} of them twice; the query failed {failures} times")
        print(f"{lost} lost, {repeated} repeated, RSS {resident[0]:.0f} -> {resident[-1]:.0f} MB", flush=True)
        spark.stop()
        if lost or repeated or failures:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
