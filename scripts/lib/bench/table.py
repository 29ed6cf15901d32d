"""A benchmark's results: shown as they come, and for docs/performance.md."""

import os

# A file to which the tables go in Markdown, if it is set.
RESULTS = "BENCH_RESULTS"


class Table:
    """Rows of one kind, below a title that says what was measured."""

    def __init__(self, title, *columns):
        self._columns = columns
        print(title, flush=True)
        self._add(f"\n**{title}**\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")

    def row(self, *cells):
        """One measurement: a name, and texts for the other columns."""
        name, *figures = cells
        shown = [f"{figure:>12} {column}" for column, figure in zip(self._columns[1:], figures) if figure]
        print(f"{name:<60}{'  '.join(shown)}", flush=True)
        self._add(f"| {' | '.join(cells)} |\n")

    def _add(self, text):
        if path := os.environ.get(RESULTS):
            with open(path, "a") as results:
                results.write(text)
