"""Checks that the shipped library, tests and benchmarks use the same features of the crates beneath them.

Cargo compiles a crate once for each set of requested features. `rust/jni/Cargo.toml` requests those of tests and
benchmarks too, so that no crate is compiled twice. If a feature is missing there, this check fails and names it.

Usage: shared_crates.py ARGUMENT..., cargo's arguments that select the features of tests and benchmarks
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def features(*selection):
    """The features of each crate beneath the selected packages, by name and version."""
    command = ["cargo", "tree", "--locked", "--prefix", "none", "--format", "{p}|{f}", *selection]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = {}
    for line in lines:
        crate, _, names = line.removesuffix(" (*)").partition("|")
        # A package with a path is the project's own.
        if "(/" not in crate:
            found.setdefault(crate, set()).update(filter(None, names.split(",")))
    return found


def main():
    shipped = features("--package", "spark-kinesis-jni", "--edges", "normal,no-proc-macro")
    tested = features("--workspace", "--edges", "normal,dev,no-proc-macro", *sys.argv[1:])
    different = [f"{crate}: {', '.join(sorted(tested[crate] ^ names))}" for crate, names in shipped.items() if tested[crate] != names]
    for line in different:
        print(f"rust/jni/Cargo.toml should ask for these features too: {line}")
    print(f"{len(shipped)} crates beneath the library, {len(different)} of them compiled a second time for tests or benchmarks")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
