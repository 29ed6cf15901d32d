"""The output of a job that overwrites a folder for each batch, and Spark's event log of the job."""

import json
from collections import defaultdict
from pathlib import Path

from .queries import events, payloads

# Small pages, so that the reader of a slow task stops in the middle of its batch.
SMALL_STEPS = {
    "getRecords.numberOfRecordsPerFetch": 5,
    "prefetch.maxBytesPerShard": 1,
    "maxFetchRecordsPerShard": 60,
}


def delivered_by_batch(output: Path):
    """The payloads of each completely written batch."""
    batches = {}
    for folder in output.glob("batch=*"):
        if (folder / "_SUCCESS").exists():
            try:
                batches[int(folder.name.split("=")[1])] = texts_of(folder)
            except FileNotFoundError:
                continue  # the batch is being overwritten
    return batches


def texts_of(folder: Path):
    """The payloads in a batch's folder."""
    return [text for part in folder.glob("part-*") for text in part.read_text().splitlines()]


def errors_of(batches, count):
    """The errors in these batches, given that `count` numbered events were put; empty if they are exact."""
    places = defaultdict(list)
    for batch, texts in batches.items():
        for text in texts:
            places[text].append(batch)
    expected = payloads(events(0, count))
    found = {
        "lost": [text for text in expected if text not in places],
        "repeated, and in which batches": {text: sorted(at) for text, at in places.items() if len(at) > 1},
        "never put": sorted(places.keys() - set(expected)),
    }
    return {what: which for what, which in found.items() if which}


def finish(job, stream, producer, output: Path):
    """Stops the producer, waits until the job has delivered all records, kills the job, and checks its output."""
    producer.stop()

    def arrived(first, count):
        have = {text for texts in delivered_by_batch(output).values() for text in texts}
        return set(payloads(events(first, count))) <= have

    def missing():
        return f"all of {producer.count} records, {errors_of(delivered_by_batch(output), producer.count)}"

    # Waits as long as there is progress: on a slow machine the backlog is larger, and takes longer.
    job.await_progress(lambda: arrived(0, producer.count), lambda: len(delivered_by_batch(output)), missing)
    # One more batch, after which the previous one is complete, and repeated records would show.
    stream.put(events(producer.count, 1))
    job.await_condition(lambda: arrived(producer.count, 1), "a further record", seconds=90, interval=0.2)
    job.kill()
    assert errors_of(delivered_by_batch(output), producer.count + 1) == {}


class EventLog:
    """The event log of an application, which may still be running."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder
        self.conf = (
            "spark.eventLog.enabled=true",
            f"spark.eventLog.dir={folder.as_uri()}",
            "spark.eventLog.compress=false",
            "spark.eventLog.rolling.enabled=false",
        )

    def _events(self, name):
        for file in self._folder.iterdir():
            if file.name.startswith("."):
                continue  # a checksum
            # The last line may be incomplete.
            for line in file.read_text().split("\n")[:-1]:
                if f'"{name}"' in line:
                    yield json.loads(line)

    def speculative_attempts(self):
        """The attempts that Spark started while another attempt was running."""
        started = self._events("SparkListenerTaskStart")
        return [event["Task Info"] for event in started if event["Task Info"]["Speculative"]]

    def executors_by_stage(self):
        """For each stage, in order, the executor of each of its successful tasks, by the task's index in the stage."""
        stages = {}
        for end in self._events("SparkListenerTaskEnd"):
            if end["Task End Reason"]["Reason"] == "Success":
                stages.setdefault(end["Stage ID"], {})[end["Task Info"]["Index"]] = end["Task Info"]["Executor ID"]
        return [stages[stage] for stage in sorted(stages)]

    def failures(self):
        """The end reasons of failed attempts, as JSON texts."""
        ends = [event["Task End Reason"] for event in self._events("SparkListenerTaskEnd")]
        return [json.dumps(end) for end in ends if end["Reason"] != "Success"]
