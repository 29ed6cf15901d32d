"""A benchmark's results: printed immediately, and collected for docs/performance.md."""

import os

# Environment variable with a file to which the tables are appended as Markdown.
RESULTS = "BENCH_RESULTS"


class Table:
    """Rows of one kind, below a title that names the measurement."""

    def __init__(self, title, *columns):
        self._columns = columns
        print(title, flush=True)
        self._add(f"\n**{title}**\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")

    def row(self, *cells):
        """Adds one measurement: a name, and texts for the other columns."""
        name, *figures = cells
        shown = [f"{figure:>12} {column}" for column, figure in zip(self._columns[1:], figures) if figure]
        print(f"{name:<60}{'  '.join(shown)}", flush=True)
        self._add(f"| {' | '.join(cells)} |\n")

    def _add(self, text):
        if path := os.environ.get(RESULTS):
            with open(path, "a") as results:
                results.write(text)
