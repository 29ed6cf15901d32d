"""Waiting for conditions."""

import time


def await_condition(condition, what, seconds=60, interval=0.05):
    """Waits until condition() is true, and returns its value. Fails after `seconds`, naming `what` it awaited."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)
