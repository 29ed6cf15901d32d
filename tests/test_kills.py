"""kill -9 at random moments: no records are lost, and none repeated in a sink that overwrites by batch."""

import os
import random
import secrets
import signal
import time
from pathlib import Path

import pytest

from support.consumers import FAN_OUT, POLLING, both_consumers
from support.delivery import SMALL_STEPS, delivered_by_batch, finish, texts_of
from support.processes import Job
from support.producer import Producer
from support.queries import committed_batches, planned_batches, source_options
from support.stores import STORES


@pytest.fixture
def chance():
    """Random moments and settings, different in every run. `KILLS_SEED` repeats those of another run."""
    seed = int(os.environ.get("KILLS_SEED", secrets.randbits(32)))
    print(f"KILLS_SEED={seed}")
    return random.Random(seed)


@pytest.mark.slow
def test_kill_9_of_the_driver(sandbox, new_stream, new_store, checkpoint, tmp_path, chance):
    masters = ["local[1]", "local[2]", "local[4]"]
    survive_kills(sandbox, new_stream(2), new_store("hadoop-local"), checkpoint, tmp_path, chance, masters, 5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("consumer_type", "kind"),
    [*((POLLING, kind) for kind in sorted(STORES)), (FAN_OUT, "hadoop-local")],
    indirect=["consumer_type"],
)
def test_kill_9_of_the_driver_twenty_times(sandbox, new_stream, new_store, checkpoint, tmp_path, chance, kind):
    masters = ["local[2]", "local-cluster[1,1,1024]", "local-cluster[2,1,1024]"]
    survive_kills(sandbox, new_stream(3), new_store(kind), checkpoint, tmp_path, chance, masters, 20)


def survive_kills(sandbox, stream, store, checkpoint, tmp_path, chance, masters, kills):
    """Each start differs from the previous one in its limits and its number of task slots or executors."""
    output, former, log = tmp_path / "output", tmp_path / "former", tmp_path / "job.log"

    def start(limit):
        options = source_options(sandbox, stream, maxFetchRecordsPerShard=limit, **store.options)
        arguments = {"options": options, "checkpoint": str(checkpoint), "output": str(output), "former": str(former)}
        return Job("overwrite_by_batch", arguments, log, master=chance.choice(masters))

    def committed():
        return newest(committed_batches(checkpoint))

    def planned():
        return newest(planned_batches(checkpoint))

    def written():
        return (output / f"batch={planned()}" / "_SUCCESS").exists()

    with Producer(stream, pause=0.2) as producer:
        for number in range(kills):
            before, described = committed(), sandbox.calls("DescribeStreamSummary")
            # Some moments are too short to be hit by chance, so the kill follows them immediately.
            what, moment, longest = [
                ("a batch's commit", lambda: committed() > before, 3),
                ("the pause between two batches", lambda: planned() == committed() > before, 0),
                ("the start, when the batch before may be run again", lambda: sandbox.calls("DescribeStreamSummary") > described, 3),
                ("a batch's end before its commit", lambda: planned() > committed() > before and written(), 0),
            ][number % 4]  # fmt: skip
            with start(chance.choice([5, 20, 100])) as job:
                job.await_condition(moment, what, seconds=150, interval=0.01)
                time.sleep(chance.uniform(0, longest))
                job.kill()
            print(f"killed after {what}: batch {planned()} planned, {committed()} committed, {written()=}")
        # Reads all records that were put meanwhile.
        with start(2_000) as job:
            finish(job, stream, producer, output)
    assert store.claims()
    # A completely written batch is the same when it is repeated, so a sink may also skip it.
    batches = delivered_by_batch(output)
    for folder in former.iterdir():
        assert sorted(texts_of(folder)) == sorted(batches[int(folder.name.split(".")[0])]), folder.name
    print(f"written again: {sorted(folder.name for folder in former.iterdir())}")


def newest(batches):
    return max(batches, default=-1)


@pytest.mark.long
@both_consumers
def test_kill_9_of_executors_ten_times(sandbox, new_stream, checkpoint, tmp_path, chance):
    stream, output = new_stream(3), tmp_path / "output"
    arguments = {
        "options": source_options(sandbox, stream, **SMALL_STEPS),
        "checkpoint": str(checkpoint),
        "output": str(output),
        "disturbance": "weary",
    }
    # Killing an executor counts as a failure of its task.
    conf = ("spark.task.maxFailures=32", "spark.deploy.maxExecutorRetries=-1")
    with (
        Producer(stream, pause=0.5) as producer,
        Job("disturbed", arguments, tmp_path / "job.log", master="local-cluster[2,1,1024]", conf=conf) as job,
    ):
        killed = set()
        for _ in range(10):
            written = newest(delivered_by_batch(output))
            job.await_condition(
                lambda: len(executors_of(job) - killed) == 2 and newest(delivered_by_batch(output)) > written,
                lambda: f"two executors, has {executors_of(job) - killed}, and a batch after {written}",
                seconds=150,
            )
            # A random moment within a batch.
            time.sleep(chance.uniform(0, 1.5))
            victim = chance.choice(sorted(executors_of(job) - killed))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        finish(job, stream, producer, output)
    # Exit code 137 is 128 plus the number of SIGKILL.
    assert job.log.read_text(errors="replace").count("is now EXITED (Command exited with code 137)") >= 10


def executors_of(job):
    """The process IDs of a local-cluster's executors."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            group = int((process / "stat").read_text().rsplit(")", 1)[1].split()[2])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended
        if group == job.pid and b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in command:
            found.add(int(process.name))
    return found
