"""How the queries of a test read: by GetRecords, or by enhanced fan-out."""

import pytest

POLLING, FAN_OUT = "GetRecords", "SubscribeToShard"


def _both(*marks):
    return pytest.mark.parametrize("consumer_type", [POLLING, pytest.param(FAN_OUT, marks=marks)], indirect=True)


# The test runs with both consumer types; or with the second one only where tests marked long run.
both_consumers = _both()
both_consumers_at_length = _both(pytest.mark.long)

# Turns of the sandbox's knobs. The service refuses a subscription for five seconds after the one before, and sends
# an empty event every few seconds: a test would wait for nothing else.
SERVICE = {"lifetime_ms": 300_000, "idle_event_ms": 5_000, "exclusive_ms": 5_000, "max_records_per_event": 0, "most_consumers": 20}
HASTE = {"exclusive_ms": 500, "idle_event_ms": 500}

# The queries' options; the fixture `consumer_type` sets them. A stream's queries share the name: one at a time.
_options = {}


def use(consumer_type):
    """What the queries that start from now on read by."""
    _options.clear()
    if consumer_type == FAN_OUT:
        _options.update(fan_out("app"))


def options():
    """The options, without their prefix, that make a query read so."""
    return dict(_options)


def fan_out(name):
    return {"consumerType": FAN_OUT, "consumerName": name, "clientRetryIntervalsMs": 100}
