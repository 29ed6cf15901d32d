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
 * {@code format("aws-kinesis")}: a Kinesis data stream as a source and a sink, of streaming queries and of
 * batches.
 *
 * <p>Nothing here goes to the network: schema and options are known to the engine from the options' text alone.
 * And nothing here is Scala, so that a JAR of the wrong Scala line can say so, before its Scala classes fail.
 */
public class KinesisSourceProvider implements TableProvider, DataSourceRegister, RelationProvider {

  @Override
  public String shortName() {
    return "aws-kinesis";
  }

  /** The schema of the source. Refuses wrong options here, where {@code load()} and {@code save()} are called. */
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
   * Only for a message: Spark 3.5 asks for this, and for nothing else, when a query names a table of its catalog
   * that was made with {@code CREATE TABLE … USING}.
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
