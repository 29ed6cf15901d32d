"""The pages README.md and docs: code marked with `<!-- run -->` runs against the sandbox, and other code is parsed.
Links have targets, and quoted messages exist in the code.

Runs only on the newest line of Spark, since the pages are the same for all lines. test_readme.py tests README's job.
"""

import json
import re
import urllib.request
from collections import Counter

import pyspark
import pytest
from local_kinesis import Stream

from support import pages
from support.countries import COUNTRIES

EVENTS = 20
# The streams of the pages, and their numbers of shards.
STREAMS = {"events": 2, "orders": 1}


def put_in_place(code, sandbox, checkpoints):
    """Fills in the values that a reader would: the service's address, and a folder for checkpoints."""
    code = re.sub(r'(\.option\("kinesis\.region", )"[^"]+"\)', rf'\1"eu-central-1").option("kinesis.endpointUrl", "{sandbox.endpoint}")', code)
    code = re.sub(r"('kinesis\.region' = )'[^']+'", rf"\1'eu-central-1', 'kinesis.endpointUrl' = '{sandbox.endpoint}'", code)
    return code.replace('"/checkpoints/', f'"{checkpoints}/')


def statements(sql):
    return [statement for statement in sql.split(";") if statement.strip()]


def check_quick_start(names, streams):
    arrived = streams["orders"].read()
    assert len(arrived) == EVENTS + 3
    assert sum(row["count"] for row in names["spark"].table("countries").collect()) == EVENTS


def check_monitoring(names, streams):
    [(source, metrics)] = [(key[1], found) for key, found in names["gauges"].newest.items() if key[0] == "listened"]
    assert metrics["records"] == EVENTS
    assert len(streams["orders"].read()) == EVENTS
    [sink] = [key[1] for key in names["gauges"].sinks if key[0] == "listened"]
    server = names["server"]
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
        exposed = answer.read().decode()
    assert f'kinesis_records{{query="listened",source="{source}"}} {EVENTS}.0\n' in exposed
    assert f'kinesis_sink_records{{query="listened",sink="{sink}"}} {EVENTS}.0\n' in exposed
    server.shutdown()
    server.server_close()


# Checks of the results of a page's blocks, beyond the absence of errors.
CHECKS = {"docs/quick-start.md": check_quick_start, "docs/monitoring.md": check_monitoring}

if not pyspark.__version__.startswith("3."):

    def test_blocks_links_and_messages_are_sound(capsys):
        blocks = [block for page in pages.pages() for block in pages.blocks(page)]
        assert [why for block in blocks if (why := pages.problem(block))] == []
        assert [link for page in pages.pages() for link in pages.dead_links(page)] == []
        assert pages.unknown_messages("docs/troubleshooting.md") == []
        running = [block for block in blocks if block.runs]
        assert {block.language for block in running} <= {"python", "sql"}
        with capsys.disabled():
            print(f"\nof {len(blocks)} blocks of code {len(running)} run; the others:")
            for (language, why), count in sorted(Counter(map(idle, [b for b in blocks if not b.runs])).items()):
                print(f"  {count:3} {language or 'of no language'}: {why}")

    def idle(block):
        """The block's language, and the reason why it doesn't run."""
        if block.mark:
            return block.language, block.mark.removeprefix("not run: ")
        if block.page == pages.README.relative_to(pages.README.parent) and block.language == "python":
            return block.language, "test_readme.py runs it"
        reasons = {
            "python": "compiled; not marked", "json": "parsed", "yaml": "parsed", "properties": "parsed", "bash": "bash -n", "sh": "bash -n",
        }  # fmt: skip
        return block.language, reasons.get(block.language, "read by people alone")

    @pytest.fixture
    def streams(sandbox):
        streams = {name: Stream.create(sandbox.client, name, shards) for name, shards in STREAMS.items()}
        countries = [COUNTRIES[number % len(COUNTRIES)] for number in range(EVENTS)]
        streams["events"].put([(f"key-{n}", json.dumps({"id": n, "country": c}).encode()) for n, c in enumerate(countries)])
        yield streams
        for stream in streams.values():
            stream.delete()

    RUNNING = [page for page in pages.pages() if any(block.runs for block in pages.blocks(page))]

    @pytest.mark.parametrize("page", RUNNING, ids=str)
    def test_the_blocks_of_a_page_run_one_after_the_other(spark, sandbox, streams, tmp_path, page):
        names = {"spark": spark, "__name__": "docs"}
        tables = {table.name for table in spark.catalog.listTables()}
        try:
            for block in filter(lambda block: block.runs, pages.blocks(page)):
                block.code = put_in_place(block.code, sandbox, tmp_path)
                if block.language == "python":
                    exec(pages.compiled(block), names)  # noqa: S102
                else:
                    for statement in statements(block.code):
                        spark.sql(statement).collect()
            CHECKS.get(str(page), lambda *_: None)(names, streams)
        finally:
            for table in spark.catalog.listTables():
                if table.name not in tables:
                    spark.catalog.dropTempView(table.name) if table.isTemporary else spark.sql(f"DROP TABLE {table.name}")
