"""The events of the typical job."""

import json

COUNTRIES = ("Spain", "Ghana", "Perú", "日本", "Norway")


def country_events(first, count):
    """Records like {"id": 42, "data": "Spain", "date": "2026-11-23 10:15:00"}."""
    return [(str(number), country_event(number)) for number in range(first, first + count)]


def country_event(number):
    minute, second = divmod(number % 3600, 60)
    date = f"2026-11-23 10:{minute:02d}:{second:02d}"
    return json.dumps({"id": number, "data": country(number), "date": date}, ensure_ascii=False).encode()


def country(number):
    return COUNTRIES[number % len(COUNTRIES)]


def copied(records):
    """The records that the job wrote to its sink, as sorted (id, country)."""
    return sorted((int(record["PartitionKey"]), record["Data"].decode()) for record in records)


def expected(first, count):
    return [(number, country(number)) for number in range(first, first + count)]
