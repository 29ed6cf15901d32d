"""A checkpoint on a real HDFS."""

import pytest

from support.delivery import errors_of
from support.hdfs import Hdfs
from support.queries import Batches, drain, events, read, source_options, start, texts_by_batch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory):
    with Hdfs(tmp_path_factory.mktemp("hdfs") / "cluster") as hdfs:
        yield hdfs


def files_below(spark, folder):
    """The paths of all files below a folder, relative to it."""
    path = spark._jvm.org.apache.hadoop.fs.Path(folder)
    found = path.getFileSystem(spark._jsc.hadoopConfiguration()).listFiles(path, True)
    files = []
    while found.hasNext():
        files.append(found.next().getPath().toString().removeprefix(f"{folder}/"))
    return files


def test_a_query_and_its_restart_in_the_middle_of_a_batch(spark, sandbox, new_stream, hdfs):
    stream, checkpoint = new_stream(2), f"{hdfs.endpoint}/checkpoints/of a query"
    stream.put(events(0, 200))
    batches, failed = Batches(), Batches()

    def fail_in_the_third(frame, batch_id):
        if batch_id == 2:
            assert len(frame.take(1)) == 1
            failed(frame, batch_id)
            raise ValueError("on purpose")
        batches(frame, batch_id)

    frame = read(spark, source_options(sandbox, stream, maxFetchRecordsPerShard=30))
    query = start(frame, fail_in_the_third, checkpoint)
    with pytest.raises(Exception, match="on purpose"):
        query.awaitTermination(120)
    stream.put(events(200, 100))

    drain(frame, checkpoint, batches)
    assert texts_by_batch(batches)[2] == texts_by_batch(failed)[2]
    assert errors_of(texts_by_batch(batches), 300) == {}
    files = files_below(spark, f"{checkpoint}/sources/0")
    # The same folder has the driver's mark.
    claims = [file.split("/") for file in files if file.startswith("claims/") and "/driver-" not in file]
    # A source numbers its batches from 1.
    assert {int(batch) for _, _, batch, _ in claims} == {batch_id + 1 for batch_id in batches.by_id}
    assert [file for file in files if file.endswith(".tmp")] == []

    stream.put(events(300, 50))
    drain(frame, checkpoint, batches)
    assert errors_of(texts_by_batch(batches), 350) == {}
