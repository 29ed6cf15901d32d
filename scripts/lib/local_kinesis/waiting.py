"""Waiting for conditions."""

import time


def await_condition(condition, what, seconds=60, interval=0.05):
    """Waits until condition() is true and answers its value; fails, naming what was awaited, after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)
