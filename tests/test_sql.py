"""Streams as tables and views of SQL."""

import pyspark
import pytest
from py4j.protocol import Py4JJavaError

from support.queries import events, payloads, sink_options, source_options, start

SPARK_3 = pyspark.__version__.startswith("3.")


def clause(options):
    return ", ".join(f"'{key}' = '{value}'" for key, value in options.items())


@pytest.fixture
def table(spark):
    yield "events"
    spark.catalog.dropTempView("events")
    spark.sql("DROP TABLE IF EXISTS events")


def test_a_view_is_read(spark, sandbox, stream, table):
    stream.put(events(0, 20))
    spark.sql(f"CREATE TEMPORARY VIEW {table} USING `aws-kinesis` OPTIONS ({clause(source_options(sandbox, stream))})")
    rows = spark.sql(f"SELECT cast(data AS STRING) AS text, streamName FROM {table} WHERE partitionKey LIKE 'k-%'").collect()
    assert sorted(row.text for row in rows) == payloads(events(0, 20))
    assert {row.streamName for row in rows} == {stream.name}


if SPARK_3:

    def test_a_table_of_spark_3_says_what_to_use_instead(spark, sandbox, stream, table):
        spark.sql(f"CREATE TABLE {table} USING `aws-kinesis` OPTIONS ({clause(sink_options(sandbox, stream))})")
        for query in f"SELECT * FROM {table}", f"INSERT INTO {table} SELECT 'k' AS partitionKey, 'd' AS data":
            # Wrapped in one of Spark's exceptions that PySpark doesn't convert.
            with pytest.raises(Py4JJavaError, match="CREATE TEMPORARY VIEW … USING `aws-kinesis`"):
                spark.sql(query)

else:

    def test_a_table_is_read_streamed_and_written(spark, sandbox, stream, checkpoint, table):
        # Options of a read and of a write, since a table serves both.
        options = sink_options(sandbox, stream)
        spark.sql(f"CREATE TABLE {table} USING `aws-kinesis` OPTIONS ({clause(options)})")
        spark.sql(f"INSERT INTO {table} SELECT concat('k-', id) AS partitionKey, concat('event-', id) AS data FROM range(10)")
        expected = sorted(f"event-{number}" for number in range(10))
        rows = spark.sql(f"SELECT cast(data AS STRING) AS text FROM {table}").collect()
        assert sorted(row.text for row in rows) == expected

        streamed = spark.readStream.option("kinesis.startingPosition", "TRIM_HORIZON").table(table)
        texts = []
        query = start(streamed, lambda frame, _: texts.extend(frame.collect()), checkpoint, availableNow=True)
        assert query.awaitTermination(60)
        assert sorted(bytes(row.data).decode() for row in texts) == expected
