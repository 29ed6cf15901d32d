package io.sparkkinesis;

import java.util.Map;
import org.apache.spark.sql.SQLContext;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableProvider;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.sources.BaseRelation;
import org.apache.spark.sql.sources.DataSourceRegister;
import org.apache.spark.sql.sources.RelationProvider;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * {@code format("aws-kinesis")}: a Kinesis data stream as source and sink of streaming queries and of batches.
 *
 * <p>This class makes no network calls: the engine derives the schema and checks the options from their text alone.
 * It is Java so that a JAR of the wrong Scala line can report that before its Scala classes fail to load.
 */
public class KinesisSourceProvider implements TableProvider, DataSourceRegister, RelationProvider {

  @Override
  public String shortName() {
    return "aws-kinesis";
  }

  /** The source's schema. Refuses wrong options as early as {@code load()} and {@code save()}. */
  @Override
  public StructType inferSchema(CaseInsensitiveStringMap options) {
    Compatibility.check();
    return KinesisTable.inferSchema(options);
  }

  @Override
  public Table getTable(StructType schema, Transform[] partitioning, Map<String, String> properties) {
    Compatibility.check();
    return KinesisTable.of(schema, properties);
  }

  @Override
  public boolean supportsExternalMetadata() {
    return false;
  }

  /**
   * Always throws, with a message that names the cure. Spark 3.5 calls only this method when a query names a catalog
   * table that was made with {@code CREATE TABLE … USING}.
   */
  @Override
  public BaseRelation createRelation(
      SQLContext context, scala.collection.immutable.Map<String, String> parameters) {
    Compatibility.check();
    throw new UnsupportedOperationException("Spark " + Compatibility.sparkVersion() + " can't use a table that was"
        + " made with CREATE TABLE … USING `" + shortName() + "` (Spark 4 can). Use CREATE TEMPORARY VIEW … USING `"
        + shortName() + "` OPTIONS (…) to read in SQL, and DataFrames to write");
  }
}
