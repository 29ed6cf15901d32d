"""Lists what is linked into the native library: the notices that its licences require, and a bill of materials.

Usage: notices.py DIR. Writes DIR/THIRD-PARTY.txt (every crate with its licences' texts, each text once) and
DIR/spark-kinesis-native.cdx.json (CycloneDX). Both files are reproducible: the same lock file and the same Rust give
the same bytes, sorted and without dates or paths.

The crates are those that cargo links for any platform of a released JAR, without build scripts, macros and tests. The
texts are the crates' own files. A crate without any gets the standard text of its licence; a crate without a licence is
an error.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKED = "spark-kinesis-jni"
PRODUCT, GROUP = "spark-kinesis-native", "io.sparkkinesis"
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
TEXT_NAME = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
# Folders of a crate whose code is not linked.
TESTS = {"tests", "benches", "fuzz", "examples"}
WIDTH = 100

MIT = """\
MIT License

Copyright (c) {holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR
IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def linked(targets=TARGETS):
    """The (name, version) of each crate that is linked for any of the targets."""
    found = set()
    for target in targets:
        tree = _run(
            "cargo", "tree", "--locked", "--package", LINKED, "--target", target,
            "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}",
        )
        found.update(re.match(r"(\S+) v(\S+)", line).groups() for line in tree.splitlines() if line)
    return found


def crates():
    """cargo's metadata of the linked crates and the project's own, sorted. "needs" has the crates that each links."""
    wanted, packages, edges = linked(), {}, {}
    for target in TARGETS:
        metadata = json.loads(_run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
        packages.update((package["id"], package) for package in metadata["packages"])
        for node in metadata["resolve"]["nodes"]:
            normal = {dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])}
            edges.setdefault(node["id"], set()).update(normal)
    found = {id: p for id, p in packages.items() if (p["name"], p["version"]) in wanted}
    if len(found) != len(wanted):
        raise SystemExit(f"error: cargo links {len(wanted)} crates and describes {len(found)} of them")
    for id, package in found.items():
        package["needs"] = sorted(reference(found[need]) for need in edges[id] if need in found)
    return sorted(found.values(), key=lambda package: (package["name"], package["version"]))


def others():
    """The linked parts that are not crates: name, version, licence, origin."""
    rust = re.match(r"rustc (\S+)", _run("rustc", "--version")).group(1)
    zig = re.search(r"^ziglang==(\S+)", (ROOT / "scripts/requirements/build.txt").read_text(), re.MULTILINE).group(1)
    return [
        ("rust-std", rust, "MIT OR Apache-2.0", "https://github.com/rust-lang/rust"),
        # Part of a released library. Its exception requires no notice in compiled programs.
        ("llvm-libunwind", f"zig-{zig}", "Apache-2.0 WITH LLVM-exception", "https://github.com/llvm/llvm-project"),
    ]


def ours(package):
    return package["source"] is None


def reference(package):
    return f"{package['name']}@{package['version']}"


def expression(package):
    """The licence as an SPDX expression; None if only a file has it. Old manifests use a slash for OR."""
    return re.sub(r"\s*/\s*", " OR ", package["license"]) if package["license"] else None


def texts(package):
    """The (file name, text) of a crate's licences and notices, sorted."""
    folder = Path(package["manifest_path"]).parent
    files = {file for file in folder.rglob("*") if TEXT_NAME.fullmatch(file.name) and file.is_file()}
    files = {file for file in files if not TESTS & set(file.relative_to(folder).parts)}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    found = [(file.relative_to(folder).as_posix(), _clean(file.read_text(errors="replace"))) for file in sorted(files)]
    return found or [("standard text", _standard(package))]


def _standard(package):
    choices = re.split(r" OR ", expression(package) or "")
    if "Apache-2.0" in choices:
        return _clean((ROOT / "LICENSE").read_text())
    if "MIT" in choices:
        holder = ", ".join(package["authors"]) or f"the authors of {package['name']}"
        return _clean(MIT.format(holder=f"{holder} ({package['repository']})" if package["repository"] else holder))
    raise SystemExit(
        f"error: {reference(package)} has no file of a licence, and {expression(package) or 'none'} in its manifest is none whose "
        "text is known: see what its licence asks for, then teach scripts/lib/notices.py, or do without the crate"
    )


def _clean(text):
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").strip("\ufeff\n").splitlines())


def notices(packages, extra):
    """The content of THIRD-PARTY.txt: a list of what is linked, then each text once, after the crates it covers."""
    foreign = [package for package in packages if not ours(package)]
    rows = [(p["name"], p["version"], expression(p) or "see below", p["repository"] or "") for p in foreign]
    lines = [
        f"{PRODUCT} contains a native library, into which this is linked:", "",
        *("  ".join(filter(None, row)) for row in sorted(rows + extra)), "",
        "What may be taken under Apache-2.0 is: its text is the connector's own (LICENSE). These are the texts that come with it.",
    ]
    holders = {}
    for package in foreign:
        for name, text in texts(package):
            # Texts that differ only in their line breaks are the same.
            holders.setdefault(" ".join(text.split()), (text, []))[1].append(f"{reference(package)} ({name})")
    for text, users in holders.values():
        lines += ["", "=" * WIDTH, *_wrapped(users), "-" * WIDTH, "", text]
    return "\n".join(lines) + "\n"


def _wrapped(words):
    line, lines = "", []
    for word in words:
        if line and len(line) + len(word) + 2 > WIDTH:
            lines.append(line + ",")
            line = ""
        line += f", {word}" if line else word
    return [*lines, line]


def bill(packages, extra, version, checksums):
    """The bill of materials in CycloneDX 1.6."""
    components, dependencies = [], []
    for package in packages:
        component = {
            "type": "library",
            "bom-ref": reference(package),
            "name": package["name"],
            "version": package["version"],
            "scope": "required",
            "licenses": [_licence(package)],
        }
        if not ours(package):
            component["purl"] = f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"
            component["hashes"] = [{"alg": "SHA-256", "content": checksums[package["name"], package["version"]]}]
        if package["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        components.append(component)
        dependencies.append({"ref": reference(package), "dependsOn": package["needs"]})
    for name, number, licence, url in extra:
        components.append({
            "type": "library",
            "bom-ref": f"{name}@{number}",
            "name": name,
            "version": number,
            "scope": "required",
            "licenses": [{"expression": licence}],
            "externalReferences": [{"type": "vcs", "url": url}],
        })
    root = f"{PRODUCT}@{version}"
    needed = [f"{LINKED}@{version}", *(f"{name}@{number}" for name, number, *_ in extra)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library", "bom-ref": root, "group": GROUP, "name": PRODUCT, "version": version,
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": sorted(components, key=lambda component: component["bom-ref"]),
        "dependencies": [{"ref": root, "dependsOn": sorted(needed)}, *dependencies],
    }


def _licence(package):
    found = expression(package)
    return {"expression": found} if found else {"license": {"name": f"see {package['license_file']} of the crate"}}


def checksums(lock):
    """(name, version) → SHA-256 of each crate's archive, from the text of Cargo.lock."""
    entry = re.compile(r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"')
    return {(name, version): digest for name, version, digest in entry.findall(lock)}


def _run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def main():
    arguments = argparse.ArgumentParser(prog="notices.py")
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    packages, extra = crates(), others()
    version = next(package["version"] for package in packages if package["name"] == LINKED)
    materials = bill(packages, extra, version, checksums((ROOT / "Cargo.lock").read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "THIRD-PARTY.txt").write_text(notices(packages, extra), encoding="utf-8")
    (folder / f"{PRODUCT}.cdx.json").write_text(json.dumps(materials, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
