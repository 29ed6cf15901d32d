package io.sparkkinesis

import java.{util => ju}

import io.sparkkinesis.sink.{KinesisWriteBuilder, WrittenMetrics}
import io.sparkkinesis.source.KinesisScan
import org.apache.spark.sql.connector.catalog.{SupportsRead, SupportsWrite, Table, TableCapability}
import org.apache.spark.sql.connector.read.ScanBuilder
import org.apache.spark.sql.connector.read.streaming.ReportsSinkMetrics
import org.apache.spark.sql.connector.write.{LogicalWriteInfo, WriteBuilder}
import org.apache.spark.sql.types._
import org.apache.spark.sql.util.CaseInsensitiveStringMap

/**
 * One stream. Its name and description appear in plans, progress and logs, so they hold no option values.
 *
 * @param own the options that the table was made with; a read or a write may add its own
 */
private[sparkkinesis] class KinesisTable(own: KinesisOptions, readSchema: StructType)
    extends Table
    with SupportsRead
    with SupportsWrite
    with ReportsSinkMetrics {

  private val written = new WrittenMetrics

  override def name(): String = s"KinesisTable[${own.stream}]"

  override def schema(): StructType = readSchema

  override def capabilities(): ju.Set[TableCapability] = {
    import TableCapability._
    // Asked while a plan is analysed, in the session that shows it, which may be another than the one of load().
    Redaction.extend(own)
    // ACCEPT_ANY_SCHEMA: what is written has other columns than what is read, and the sink checks
    // them itself. No TRUNCATE: a stream can't be overwritten, and Spark then refuses that mode.
    ju.EnumSet.of(BATCH_READ, MICRO_BATCH_READ, BATCH_WRITE, STREAMING_WRITE, ACCEPT_ANY_SCHEMA)
  }

  // The scan checks the options, since it knows whether it is one of a stream or of a batch.
  override def newScanBuilder(options: CaseInsensitiveStringMap): ScanBuilder =
    () => new KinesisScan(own.updated(KinesisOptions(options)))

  override def newWriteBuilder(info: LogicalWriteInfo): WriteBuilder = {
    val checked = own.updated(KinesisOptions(info.options()))
    checked.check(KinesisOptions.Sink)
    new KinesisWriteBuilder(checked, info.schema(), written)
  }

  /** Of a streaming query's last batch. Spark asks the table that the query was started with. */
  override def metrics(): ju.Map[String, String] = written.ofLastBatch()

  override def toString: String = name()
}

private[sparkkinesis] object KinesisTable {

  /** What every read delivers, in the order of the engine's columns; those of kinesis.extraColumns follow. */
  val ReadSchema: StructType = StructType(
    Seq(
      StructField("data", BinaryType),
      StructField("streamName", StringType),
      StructField("partitionKey", StringType),
      StructField("sequenceNumber", StringType),
      StructField("approximateArrivalTimestamp", TimestampType)))

  /** The schema of a read, if the options may be those of a read. Refuses those that are wrong in every case. */
  def inferSchema(options: CaseInsensitiveStringMap): StructType = {
    val checked = KinesisOptions(options)
    Redaction.extend(checked)
    checked.checkForReadOrWrite()
    checked.readSchema
  }

  /** A table with this schema; the options among the properties are those of every read and write. */
  def of(schema: StructType, properties: ju.Map[String, String]): Table =
    new KinesisTable(KinesisOptions(new CaseInsensitiveStringMap(properties)), schema)
}
