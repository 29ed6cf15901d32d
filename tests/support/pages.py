"""The pages of the documentation: their blocks of code, links and messages."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import environment

README = environment.ROOT / "README.md"

_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_MARK = re.compile(r"<!-- (run|not run: .+) -->")
_LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def pages():
    """README.md and all pages of docs, as paths from the root."""
    found = [README, *sorted((environment.ROOT / "docs").rglob("*.md"))]
    return [page.relative_to(environment.ROOT) for page in found]


@dataclass
class Block:
    """A fenced block of code. `mark` is the text of the comment above it: `run`, or `not run: why`."""

    page: Path
    line: int
    language: str
    code: str
    mark: str

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def runs(self):
        return self.mark == "run"


def blocks(page):
    found, fence, code, begin, mark = [], None, [], 0, ""
    for number, line in enumerate((environment.ROOT / page).read_text().splitlines(), 1):
        edge = _FENCE.match(line)
        if fence is None and edge:
            fence, code, begin = edge, [], number
        elif fence is None:
            # A mark applies only to the block that follows immediately.
            if line.strip():
                marked = _MARK.fullmatch(line.strip())
                mark = marked.group(1) if marked else ""
        elif edge and not edge.group(2) and edge.group(1) == fence.group(1):
            indent = len(fence.group(1))
            text = "".join(f"{row[indent:]}\n" for row in code)
            found.append(Block(page, begin, fence.group(2), text, mark))
            fence, mark = None, ""
        else:
            code.append(line)
    assert fence is None, f"{page}: the block of line {begin} has no end"
    return found


def compiled(block):
    """The compiled block, with the page's line numbers in its errors."""
    return compile("\n" * block.line + block.code, str(environment.ROOT / block.page), "exec")


def problem(block):
    """The parser's error for the block in its language; None if it is valid, or if there is no parser."""
    checks = {"python": compiled, "json": _json, "yaml": _yaml, "bash": _bash, "sh": _bash, "properties": _properties}
    try:
        checks.get(block.language, lambda _: None)(block)
    except (SyntaxError, ValueError) as failure:
        return f"{block}: {failure}"
    return None


def _json(block):
    json.loads(block.code)


def _yaml(block):
    import yaml  # a dependency of moto

    try:
        yaml.safe_load(block.code)
    except yaml.YAMLError as failure:
        raise ValueError(failure) from failure


def _bash(block):
    checked = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    if checked.returncode != 0:
        raise ValueError(checked.stderr)


def _properties(block):
    for line in block.code.splitlines():
        if not re.fullmatch(r"[\w.]+(\s*=\s*|\s+)\S.*|#.*|", line):
            raise ValueError(f"{line!r} is no setting")


def dead_links(page):
    """The page's links to missing files and headings. External addresses are not checked."""
    text = (environment.ROOT / page).read_text()
    dead = []
    for target in _LINK.findall(_without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (environment.ROOT / page).parent / path if path else environment.ROOT / page
        if not file.is_file() or anchor and anchor not in _anchors(file):
            dead.append(f"{page}: {target}")
    return dead


def _anchors(file):
    """The anchors that GitHub generates for the headings."""
    headings = re.findall(r"^#+ (.+)$", _without_code(file.read_text(), inline=False), re.M)
    anchors = set()
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 1
        while (name := slug if number == 1 else f"{slug}-{number - 1}") in anchors:
            number += 1
        anchors.add(name)
    return anchors


def unknown_messages(page):
    """Messages in the first column of the page's tables with a part that no string of the code contains. `…` stands
    for variable parts, and Spark's own messages are marked as such."""
    written = _sources()
    unknown = []
    for row in re.findall(r"^\| (`.+?) \|", (environment.ROOT / page).read_text(), re.M):
        if row.endswith("(Spark)"):
            continue
        parts = [part.strip() for message in re.findall(r"`([^`]+)`", row) for part in message.split("…")]
        unknown += [f"{page}: {part!r}" for part in parts if part not in written]
    return unknown


def _sources():
    """All code that creates messages, with each multi-line string joined into one line."""
    folders = [environment.ROOT / folder for folder in ("rust/connector/src", "rust/jni/src", "jvm/src/main")]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".rs", ".java", ".scala")]
    text = "\n".join(file.read_text() for file in files)
    text = re.sub(r"\\\n\s*", "", text)
    return re.sub(r'"\s*\+\s*s?"', "", text)


def _without_code(text, inline=True):
    text = re.sub(r"^( *)```.*?^\1```\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "code", text) if inline else text
