"""The packages' lists of what is linked into the native library: licence notices and a bill of materials."""

import json
import re
import subprocess
import sys
import zipfile

import notices
import pytest

from support import environment

NOTICES, BILL = "META-INF/THIRD-PARTY.txt", "META-INF/sbom/spark-kinesis-native.cdx.json"
HEADER = "io/sparkkinesis/native/include/sparkkinesis.h"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The notices and the bill, written twice with different umasks."""
    folders = [tmp_path_factory.mktemp(f"written-{umask}") for umask in ("022", "077")]
    for folder, umask in zip(folders, (0o022, 0o077)):
        command = [sys.executable, str(environment.ROOT / "scripts/lib/notices.py"), str(folder)]
        subprocess.run(command, check=True, umask=umask, cwd=folder)
    return [{file.name: file.read_text() for file in folder.iterdir()} for folder in folders]


@pytest.fixture(scope="module")
def jar():
    with zipfile.ZipFile(environment.jar()) as jar:
        yield jar


def listed(text):
    """The (name, version) of each entry in the list at the head of THIRD-PARTY.txt."""
    head = text.split("\n\n")[1]
    return {tuple(line.split("  ")[:2]) for line in head.splitlines()}


def in_bill(bill):
    return {(component["name"], component["version"]) for component in bill["components"]}


OURS = {"kinesis-aggregation", "kinesis-connector", "spark-kinesis-jni"}
NO_CRATES = {"rust-std", "llvm-libunwind"}


def test_every_linked_crate_is_in_both(written):
    text, bill = (written[0][name] for name in ("THIRD-PARTY.txt", "spark-kinesis-native.cdx.json"))
    crates = set()
    for machine in ("x86_64", "aarch64"):
        command = ["cargo", "tree", "--locked", "-p", "spark-kinesis-jni", "-e", "normal,no-proc-macro", "--prefix", "none"]
        command += ["--target", f"{machine}-unknown-linux-gnu"]
        tree = subprocess.run(command, cwd=environment.ROOT, check=True, capture_output=True, text=True).stdout
        crates |= {(name, version.lstrip("v")) for name, version in (line.split(" ")[:2] for line in tree.splitlines() if line)}
    assert {"tokio", "aws-sdk-kinesis", "rustls", "jni", *OURS} <= {name for name, _ in crates}
    assert {found for found in in_bill(json.loads(bill)) if found[0] not in NO_CRATES} == crates
    assert {found for found in listed(text) if found[0] not in NO_CRATES} == {found for found in crates if found[0] not in OURS}


def test_every_crate_has_a_text(written):
    text = written[0]["THIRD-PARTY.txt"]
    named = set(re.findall(r"([\w.+-]+)@([\w.+-]+) \(", text))
    assert named == {found for found in listed(text) if found[0] not in NO_CRATES}
    for words in ("Apache License", "Permission is hereby granted", "UNICODE LICENSE V3", "Blue Oak", "Apache Arrow", "AWS-LC"):
        assert words in text, words


def test_the_same_bytes_without_a_date_or_a_path(written):
    first, second = written
    assert first == second
    for text in first.values():
        assert "file://" not in text
        assert str(environment.ROOT) not in text
        assert ".cargo/registry" not in text
    assert not {"timestamp", "tools"} & set(json.loads(first["spark-kinesis-native.cdx.json"])["metadata"])


def test_the_bill_is_whole(written):
    bill = json.loads(written[0]["spark-kinesis-native.cdx.json"])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [component["bom-ref"] for component in bill["components"]]
    assert references == sorted(set(references))
    locked = (environment.ROOT / "Cargo.lock").read_text()
    for component in bill["components"]:
        (licence,) = component["licenses"]
        assert re.fullmatch(r"[\w.() +-]+", licence["expression"])
        if component["name"] in OURS:
            # A purl would refer to a foreign package of the same name.
            assert "purl" not in component
        elif component["name"] not in NO_CRATES:
            assert component["purl"] == f"pkg:cargo/{component['name']}@{component['version'].replace('+', '%2B')}"
            assert f'checksum = "{component["hashes"][0]["content"]}"' in locked
    known = {*references, bill["metadata"]["component"]["bom-ref"]}
    edges = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    assert {*edges, *(need for needs in edges.values() for need in needs)} == known
    # Every component is a dependency of another one.
    reached, ahead = set(), [bill["metadata"]["component"]["bom-ref"]]
    while ahead:
        reference = ahead.pop()
        if reference not in reached:
            reached.add(reference)
            ahead += edges.get(reference, [])
    assert reached == known


def crate(folder, licence, **more):
    (folder / "Cargo.toml").touch()
    return {
        "name": "odd", "version": "1.0.0", "license": licence, "license_file": None, "authors": [], "repository": None,
        "manifest_path": str(folder / "Cargo.toml"), **more,
    }


def test_a_crate_without_a_licence_is_an_error(tmp_path):
    for licence in (None, "BSD-3-Clause", "MIT AND Zlib"):
        with pytest.raises(SystemExit, match="odd@1.0.0 has no file of a licence"):
            notices.texts(crate(tmp_path, licence))


def test_a_crate_without_a_file_has_the_standard_text(tmp_path):
    ((_, text),) = notices.texts(crate(tmp_path, "Zlib OR MIT", authors=["A. Nyone"], repository="https://example.com/odd"))
    assert "Copyright (c) A. Nyone (https://example.com/odd)" in text
    ((_, text),) = notices.texts(crate(tmp_path, "MIT/Apache-2.0"))
    assert "Apache License" in text


def test_a_crates_own_files_come_first(tmp_path):
    for name in ("LICENSE-MIT", "NOTICE.txt", "licence.md", "COPYING", "src/inner/LICENSE", "tests/LICENSE", "license.rs.in", "TERMS"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\r\n")
    found = dict(notices.texts(crate(tmp_path, None, license_file="TERMS")))
    assert set(found) == {"LICENSE-MIT", "NOTICE.txt", "licence.md", "COPYING", "src/inner/LICENSE", "license.rs.in", "TERMS"}
    assert found["TERMS"] == "TERMS"


def test_the_jar_has_both_and_the_header(jar, written):
    assert jar.read(NOTICES).decode() == written[0]["THIRD-PARTY.txt"]
    assert jar.read(BILL).decode() == written[0]["spark-kinesis-native.cdx.json"]
    assert jar.read(HEADER) == (environment.ROOT / "rust/jni/include/sparkkinesis.h").read_bytes()


def test_what_the_library_itself_names_is_in_both(jar):
    """A library contains the source paths of crates that may panic."""
    places = [name for name in jar.namelist() if name.endswith("libsparkkinesis.so")]
    linked = set()
    for place in places:
        for name, version in re.findall(rb"/registry/src/[^/]+/([\w-]+?)-(\d[\w.+-]*)/", jar.read(place)):
            linked.add((name.decode(), version.decode()))
    assert len(linked) > 50
    assert linked <= listed(jar.read(NOTICES).decode())
    assert linked <= in_bill(json.loads(jar.read(BILL)))


@pytest.mark.slow
def test_the_wheel_and_the_repository_have_them(jar):
    with zipfile.ZipFile(environment.wheel()) as wheel:
        inside = {name.split(".dist-info/")[1]: wheel.read(name) for name in wheel.namelist() if ".dist-info/" in name}
    assert inside["licenses/THIRD-PARTY.txt"] == jar.read(NOTICES)
    assert inside["sboms/spark-kinesis-native.cdx.json"] == jar.read(BILL)
    group, artifact, version = environment.coordinates().split(":")
    place = environment.maven_repository() / group.replace(".", "/") / artifact / version
    assert (place / f"{artifact}-{version}-cyclonedx.json").read_bytes() == jar.read(BILL)
    folder = environment.maven_repository().parent
    for name in (NOTICES, BILL, HEADER):
        assert (folder / name.rsplit("/", 1)[1]).read_bytes() == jar.read(name)
