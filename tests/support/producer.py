"""A continuous producer of records."""

import threading

from .queries import events


class Producer:
    """Puts numbered records in the background until stopped, slowly enough for a busy machine to keep up.

    `count` is the number of the next record.
    """

    def __init__(self, stream, at_once=10, pause=0.05, first=0):
        self.count = first
        self._stream, self._at_once, self._pause = stream, at_once, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._put, daemon=True)

    def _put(self):
        while not self._stop.wait(self._pause):
            self._stream.put(events(self.count, self._at_once))
            self.count += self._at_once

    def __enter__(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._thread.join(30)

    def __exit__(self, *_):
        self.stop()
