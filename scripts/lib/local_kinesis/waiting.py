"""Waiting for conditions."""

import os
import time

# How many times as long a wait takes before it fails, for slow machines and emulated ones.
PATIENCE = float(os.environ.get("KINESIS_PATIENCE", "1"))


def await_condition(condition, what, seconds=60, interval=0.05):
    """Waits until condition() is true, and returns its value. Fails after `seconds` times PATIENCE, naming `what` it
    awaited."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)
