"""Runs the demo: creates streams, puts events, runs the job twice, and accounts for every event."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from local_kinesis import REGION, Sandbox, Stream, await_condition

from .account import account_for
from .events import EVENTS_A_SECOND, Generator

SOURCE, SINK, SHARDS = "kinesis-source", "kinesis-sink", 4
# Events that are put while the job is down.
EVENTS_WHILE_STOPPED = 200
MOST_SECONDS = 180


class Job:
    """One run of the Spark job, as a user submits it."""

    def __init__(self, sandbox, work):
        self.stop_file = work / "stop"
        self.stop_file.unlink(missing_ok=True)
        self.log = work / "spark.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    "spark-submit",
                    "--master", "local[2]",
                    "--jars", os.environ["SPARK_KINESIS_JAR"],
                    "--conf", "spark.ui.enabled=false",
                    "--conf", "spark.sql.shuffle.partitions=2",
                    str(Path(__file__).with_name("job.py")),
                    SOURCE, SINK, REGION, sandbox.endpoint, str(work / "checkpoints"), str(self.stop_file),
                ],
                env={**os.environ, "AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"},
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def await_condition(self, condition, what):
        await_condition(lambda: condition() or self.process.poll() is not None, what, MOST_SECONDS, 0.2)
        if not condition():
            self.fail(f"the job ended with {self.process.returncode} while this was awaited: {what}")

    def fail(self, why):
        print(self.log.read_text(errors="replace")[-5000:], file=sys.stderr)
        raise SystemExit(f"error: {why}; the end of its log is above")

    def stop(self):
        self.stop_file.touch()
        if self.process.wait(60) != 0:
            self.fail(f"the job ended with {self.process.returncode}")

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def say(text):
    print(f"\n==> {text}", flush=True)


def run(sandbox, work, seconds, keep):
    source = Stream.create(sandbox.client, SOURCE, SHARDS)
    sink = Stream.create(sandbox.client, SINK, SHARDS)
    say(f"Kinesis at {sandbox.endpoint}; streams {SOURCE} and {SINK}, {SHARDS} shards each")

    generator = Generator(source)
    say("starting the job; it begins at LATEST")
    job = Job(sandbox, work)
    try:
        job.await_condition(lambda: sandbox.probes(SOURCE) >= SHARDS, "the job's first look at the stream")
        say(f"{EVENTS_A_SECOND} events a second from now on")
        generator.start()
        up = [let_run(job, generator, sink, seconds)]
        say("stopping the job; events go on")
        job.stop()
        generator.await_events(len(generator.put) + EVENTS_WHILE_STOPPED)
        say("starting it again, from its checkpoint")
        job = Job(sandbox, work)
        up.append(let_run(job, generator, sink, seconds))
        generator.stop()
        job.await_condition(lambda: arrived(sink) >= len(generator.put), "the last events' arrival")
        complete = account_for(generator.put, sink.read(), up)
        if keep:
            stay(generator, sandbox)
        job.stop()
    finally:
        generator.stop()
        job.kill()
    return complete


def let_run(job, generator, sink, seconds):
    """Lets the job catch up and then run for `seconds`; returns the start and end of the time it was up to date."""
    behind = len(generator.put)
    job.await_condition(lambda: arrived(sink) >= max(behind, 1), "the first events' arrival")
    began = time.time()
    generator.await_events(len(generator.put) + int(seconds * EVENTS_A_SECOND))
    return began, time.time()


def arrived(sink):
    return len({record["PartitionKey"] for record in sink.read()})


def stay(generator, sandbox):
    generator.start()
    try:
        while True:
            # Again and again, as the job's output goes on.
            say(f"staying up, events go on; Kinesis is at {sandbox.endpoint} (any key, region {REGION}). Ctrl-C ends it")
            time.sleep(60)
    except KeyboardInterrupt:
        generator.stop()


def main():
    arguments = argparse.ArgumentParser(prog="scripts/demo")
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--keep", action="store_true")
    given = arguments.parse_args()
    # So that the sandbox ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Sandbox(os.environ["KINESIS_SANDBOX"], log=given.work / "sandbox.log") as sandbox:
        complete = run(sandbox, given.work, given.seconds, given.keep)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
