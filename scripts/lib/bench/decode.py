"""The table of scripts/bench decode, in Markdown, from the files that criterion leaves.

Usage: decode.py FOLDER SINCE, with criterion's folder, and the start of the run in seconds since the epoch. Older
results are left out.
"""

import json
import sys
from pathlib import Path


def results(folder, since):
    """Benchmark and estimates of each result of the run, in the order of their measurement."""
    files = [file for file in folder.glob("**/new/estimates.json") if file.stat().st_mtime >= since]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        yield json.loads(file.with_name("benchmark.json").read_text()), json.loads(file.read_text())


def row(benchmark, estimates):
    """The cells of a result."""
    # As criterion itself: it has no slope of slow benchmarks.
    time = estimates["slope"] or estimates["mean"]
    interval = time["confidence_interval"]
    nanos, low, high = time["point_estimate"], interval["lower_bound"], interval["upper_bound"]
    megabytes = benchmark["throughput"]["Bytes"] / 1e6
    return (
        f"{benchmark['group_id']}: {benchmark['function_id']}",
        benchmark["value_str"],
        f"{nanos / 1e3:.1f}",
        f"{low / 1e3:.1f} to {high / 1e3:.1f}",
        f"{megabytes / (nanos / 1e9):.0f}",
    )


def main():
    folder, since = Path(sys.argv[1]), float(sys.argv[2])
    rows = [row(*result) for result in results(folder, since)]
    if not rows:
        raise SystemExit("error: no benchmark ran: does one match --only?")
    columns = ("what", "records", "microseconds", "95 % interval", "MB/s of payload")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
