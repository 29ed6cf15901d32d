"""Queries that continue from a checkpoint written by the AWS connector."""

import re
import shutil
from pathlib import Path

import pytest

from support.queries import Batches, drain, read, source_options, start

FIXTURE = Path(__file__).parent / "fixtures/awslabs-checkpoints/GetRecords-hdfs"
# Groups: four digits of the shard, and the record's 1-based position in the shard.
NUMBER = re.compile(r"4960(\d{4})(\d{48})")


def numbered(first, count):
    """Records like the fixture's, with a number as key and payload."""
    return [(str(number), str(number).encode()) for number in range(first, first + count)]


@pytest.fixture
def filled(new_stream):
    """A stream with the records 0 to 79. The old query delivered the first sixty."""
    stream = new_stream(2)
    stream.put(numbered(0, 80))
    return stream


@pytest.fixture
def old(filled, tmp_path):
    """The old query's checkpoint, for this stream."""
    places = {}
    for record in filled.read():
        places.setdefault(int(record["ShardId"][-4:]), []).append(record["SequenceNumber"])
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "old"))
    for file in filter(Path.is_file, folder.rglob("*")):
        text = NUMBER.sub(lambda found: places[int(found[1])][int(found[2]) - 1], file.read_text())
        file.write_text(re.sub(r"orders-get-\d+", filled.name, text))
    return folder


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_imported_checkpoint_goes_on_with_the_next_record(spark, sandbox, filled, old, checkpoint):
    before = contents(old)
    frame = read(spark, source_options(sandbox, filled, importCheckpoint=f"file:{old}"))
    assert sorted(map(int, drain(frame, checkpoint).data)) == list(range(60, 80))
    assert contents(old) == before, "it is only read"
    # The old checkpoint is needed only once: the query has stored the positions in its own.
    shutil.rmtree(old)
    filled.put(numbered(80, 20))
    assert sorted(map(int, drain(frame, checkpoint).data)) == list(range(80, 100))


@pytest.mark.parametrize("trigger", [{}, {"availableNow": True}])
def test_a_foreign_checkpoint_location_is_refused_with_the_way_on(spark, sandbox, filled, old, trigger):
    before = contents(old)
    query = start(read(spark, source_options(sandbox, filled)), Batches(), old, **trigger)
    with pytest.raises(Exception, match="kinesis.importCheckpoint"):
        query.awaitTermination(120)
    assert contents(old) == before, "nothing was written"
