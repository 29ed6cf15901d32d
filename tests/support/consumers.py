"""The consumer type of a test's queries: GetRecords, or enhanced fan-out."""

import pytest

POLLING, FAN_OUT = "GetRecords", "SubscribeToShard"


def _both(*marks):
    return pytest.mark.parametrize("consumer_type", [POLLING, pytest.param(FAN_OUT, marks=marks)], indirect=True)


# Runs a test with both consumer types. `_at_length` runs the second one only if tests marked `long` run.
both_consumers = _both()
both_consumers_at_length = _both(pytest.mark.long)

# Settings of the sandbox's knobs: the service's, and shorter delays for tests. The service refuses a subscription for
# five seconds after the previous one, and sends an empty event every few seconds.
SERVICE = {"lifetime_ms": 300_000, "idle_event_ms": 5_000, "exclusive_ms": 5_000, "max_records_per_event": 0, "most_consumers": 20}
HASTE = {"exclusive_ms": 500, "idle_event_ms": 500}

# The queries' options, set by the fixture `consumer_type`. All queries of a stream share one consumer name, so only one
# can run at a time.
_options = {}


def use(consumer_type):
    """Sets the consumer type of queries that start after this call."""
    _options.clear()
    if consumer_type == FAN_OUT:
        _options.update(fan_out("app"))


def options():
    """The options of the current consumer type, without their prefix."""
    return dict(_options)


def fan_out(name):
    return {"consumerType": FAN_OUT, "consumerName": name, "clientRetryIntervalsMs": 100}
