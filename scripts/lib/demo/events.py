"""The demo's events: {"id": 42, "data": "Spain", "date": "2026-11-23 10:15:00"}."""

import json
import random
import threading
import time
from datetime import datetime, timezone

from local_kinesis import await_condition

COUNTRIES = ("Spain", "Ghana", "Peru", "Japan", "Norway", "Kenya", "Brazil", "India")
EVENTS_A_SECOND = 50
PUTS_A_SECOND = 10


class Generator:
    """Puts events at a steady rate in the background. `put` has each event's time by id."""

    def __init__(self, stream):
        self.put = {}
        self._stream = stream
        self._stop = threading.Event()
        self._thread = None
        self._failure = None

    def start(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failure:
            raise self._failure

    def await_events(self, count):
        await_condition(lambda: len(self.put) >= count or self._failure, f"{count} events", seconds=600)
        if self._failure:
            raise self._failure

    def _run(self):
        try:
            while not self._stop.wait(1 / PUTS_A_SECOND):
                first = len(self.put)
                events = [event(number) for number in range(first, first + EVENTS_A_SECOND // PUTS_A_SECOND)]
                now = time.time()
                self._stream.put([(str(number), data) for number, data in events])
                self.put.update((number, now) for number, _ in events)
        except Exception as failure:
            self._failure = failure


def event(number):
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    return number, json.dumps({"id": number, "data": random.choice(COUNTRIES), "date": date}).encode()
