"""Runs a notebook's cells in order, as a kernel without a display does.

Arguments, as JSON: `notebook`; `events`, the number after which its query is stopped; `picture`, the file for the last
figure that it displayed.
"""

import json
import os
import sys
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"

arguments = json.loads(sys.argv[1])
names = {"__name__": "__main__"}


class Shown:
    """The handle that a kernel's `display` returns, whose figure can be updated."""

    def update(self, figure):
        counted = sum(sum(batch.values()) for batch in names["by_batch"].values())
        if counted >= arguments["events"] and names["lag"]:
            names["query"].stop()
            figure.savefig(arguments["picture"], dpi=80)


names["display"] = lambda _, display_id: Shown()

notebook = json.loads(Path(arguments["notebook"]).read_text())
for number, cell in enumerate(notebook["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
print("DONE", json.dumps({"by_batch": list(names["by_batch"].values()), "lag": list(names["lag"].values())}))
