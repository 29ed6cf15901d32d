"""Checks that no two folders of a crate import each other, and that no other folder imports `engine`.

Usage: layers.py rust/connector/src|rust/sandbox/src
"""

import re
import sys
from pathlib import Path

# The folder that composes all others, and that none of them imports.
TOP = "engine"


def folder_of(file, root):
    return file.relative_to(root).parts[0].removesuffix(".rs")


def imports_of(file):
    """The folders whose items a file names outside of its unit tests."""
    code = re.split(r"#\[cfg\(test\)\]\nmod tests", file.read_text())[0]
    for group, single in re.findall(r"\bcrate::(?:\{([^}]*)\}|(\w+))", code):
        yield from (name.split("::")[0].strip() for name in (group or single).split(","))


def main(root):
    files = [file for file in sorted(root.rglob("*.rs")) if "tests" not in file.stem and "tests" not in file.parts]
    folders = {folder_of(file, root) for file in files} - {"lib"}
    used = {}
    for file in files:
        for name in set(imports_of(file)) & folders - {folder_of(file, root)}:
            used.setdefault((folder_of(file, root), name), file)
    wrong = [f"{file} uses {TOP}" for (_, name), file in used.items() if name == TOP]
    wrong += [
        f"{one} and {other} use each other: {file} and {used[other, one]}"
        for (one, other), file in used.items()
        if one < other and (other, one) in used
    ]
    print("\n".join(wrong) or f"{len(folders)} folders, none of which use each other")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
