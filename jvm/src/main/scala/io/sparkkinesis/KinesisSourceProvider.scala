package io.sparkkinesis

import java.{util => ju}

import org.apache.spark.sql.connector.catalog.{Table, TableProvider}
import org.apache.spark.sql.connector.expressions.Transform
import org.apache.spark.sql.sources.DataSourceRegister
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.util.CaseInsensitiveStringMap

/**
 * `format("aws-kinesis")`: a Kinesis data stream as a source and a sink, of streaming queries and
 * of batches.
 *
 * Nothing here goes to the network: schema and options are known to the engine from the options'
 * text alone.
 */
class KinesisSourceProvider extends TableProvider with DataSourceRegister {

  override def shortName(): String = "aws-kinesis"

  /** The schema of the source. Refuses wrong options here, where `load()` and `save()` are called. */
  override def inferSchema(options: CaseInsensitiveStringMap): StructType = {
    val checked = KinesisOptions(options)
    checked.checkForReadOrWrite()
    checked.readSchema
  }

  override def getTable(
      schema: StructType,
      partitioning: Array[Transform],
      properties: ju.Map[String, String]): Table =
    new KinesisTable(KinesisOptions(new CaseInsensitiveStringMap(properties)).stream, schema)

  override def supportsExternalMetadata(): Boolean = false
}

/** `format("aws-kinesis-native")`: the same connector where "aws-kinesis" already names another one. */
class KinesisNativeSourceProvider extends KinesisSourceProvider {
  override def shortName(): String = "aws-kinesis-native"
}
