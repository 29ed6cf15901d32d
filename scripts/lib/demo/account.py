"""The account of every event: delivered, repeated or lost, and how fast."""

from collections import Counter
from statistics import median, quantiles


def account_for(put, records, up):
    """Prints how many of the events (id -> time of its put) are among the sink's records, how often and how fast.
    Returns true if all are. `up` has the start and end of the times at which the job was up to date."""
    counts = Counter()
    first_seen = {}
    for record in records:
        number = int(record["PartitionKey"])
        counts[number] += 1
        arrival = record["ApproximateArrivalTimestamp"].timestamp()
        first_seen[number] = min(arrival, first_seen.get(number, arrival))

    missing = sorted(set(put) - set(counts))
    unknown = sorted(set(counts) - set(put))
    times = Counter(counts[number] for number in put if number in counts)
    print("\n==> every event, in the sink stream:")
    print(f"    generated   {len(put):6}")
    for often in sorted(times):
        print(f"    arrived {often}x  {times[often]:6}")
    print(f"    missing     {len(missing):6}{'  ' + str(missing[:20]) if missing else ''}")
    if unknown:
        print(f"    unknown     {len(unknown):6}  {unknown[:20]}")
    if max(times, default=1) > 1:
        print("    (a batch that is stopped half-way is written again: the sink is at least once)")
    waits = {number: max(0.0, first_seen[number] - put[number]) for number in put if number in first_seen}
    print_waits("put while the job ran", [waits[n] for n in waits if any(a <= put[n] < b for a, b in up)])
    print_waits("all, also those put while it was down or starting", list(waits.values()))
    complete = not missing and not unknown
    verdict = "every event is accounted for" if complete else "FAILED: events are missing, or were never generated"
    print(f"==> {verdict}", flush=True)
    return complete


def print_waits(which, waits):
    """Prints one line about the times from put to the sink stream."""
    if len(waits) > 1:
        cuts = quantiles(waits, n=100, method="inclusive")
        print(
            f"    put -> sink stream: median {median(waits):.2f} s, 90 % within {cuts[89]:.2f} s, "
            f"longest {max(waits):.2f} s  ({which})"
        )
