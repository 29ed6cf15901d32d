"""What a job that overwrites a folder for each batch has delivered, and what Spark tells of how it came to it."""

import json
from collections import defaultdict
from pathlib import Path

from .queries import events, payloads

# A few records at a time: a reader whose task is slow stops in the middle of its batch.
SMALL_STEPS = {
    "getRecords.numberOfRecordsPerFetch": 5,
    "prefetch.maxBytesPerShard": 1,
    "maxFetchRecordsPerShard": 60,
}


def delivered_by_batch(output: Path):
    """The payloads in each batch that was written to its end."""
    batches = {}
    for folder in output.glob("batch=*"):
        if (folder / "_SUCCESS").exists():
            try:
                batches[int(folder.name.split("=")[1])] = texts_of(folder)
            except FileNotFoundError:
                continue  # just being overwritten
    return batches


def texts_of(folder: Path):
    """The payloads in a batch's folder."""
    return [text for part in folder.glob("part-*") for text in part.read_text().splitlines()]


def errors_of(batches, count):
    """What is wrong with these batches if so many numbered events were put; empty if they are exact."""
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
    """Ends the producing, waits until the job has delivered all of it, kills it, and checks what it delivered."""
    producer.stop()

    def arrived(first, count):
        have = {text for texts in delivered_by_batch(output).values() for text in texts}
        return set(payloads(events(first, count))) <= have

    def missing():
        return f"all of {producer.count} records, {errors_of(delivered_by_batch(output), producer.count)}"

    # A busy machine takes its time for what was put until now, which is more the longer it took to come here.
    job.await_progress(lambda: arrived(0, producer.count), lambda: len(delivered_by_batch(output)), missing)
    # One more batch: the last one is complete then, and what it repeated would show.
    stream.put(events(producer.count, 1))
    job.await_condition(lambda: arrived(producer.count, 1), "a further record", seconds=90, interval=0.2)
    job.kill()
    assert errors_of(delivered_by_batch(output), producer.count + 1) == {}


class EventLog:
    """The event log of an application that may be running still."""

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
            # The last line may not be written to its end.
            for line in file.read_text().split("\n")[:-1]:
                if f'"{name}"' in line:
                    yield json.loads(line)

    def speculative_attempts(self):
        """The attempts that Spark started beside one that was running."""
        started = self._events("SparkListenerTaskStart")
        return [event["Task Info"] for event in started if event["Task Info"]["Speculative"]]

    def executors_by_stage(self):
        """For each stage, in order, the executor of each of its tasks that succeeded, by the task's place in the stage."""
        stages = {}
        for end in self._events("SparkListenerTaskEnd"):
            if end["Task End Reason"]["Reason"] == "Success":
                stages.setdefault(end["Stage ID"], {})[end["Task Info"]["Index"]] = end["Task Info"]["Executor ID"]
        return [stages[stage] for stage in sorted(stages)]

    def failures(self):
        """How the attempts ended that didn't succeed, as texts."""
        ends = [event["Task End Reason"] for event in self._events("SparkListenerTaskEnd")]
        return [json.dumps(end) for end in ends if end["Reason"] != "Success"]
