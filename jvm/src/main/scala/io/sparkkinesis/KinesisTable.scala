package io.sparkkinesis

import java.{util => ju}

import io.sparkkinesis.sink.{KinesisWriteBuilder, WrittenMetrics}
import io.sparkkinesis.source.KinesisScanBuilder
import org.apache.spark.sql.connector.catalog.{SupportsRead, SupportsWrite, Table, TableCapability}
import org.apache.spark.sql.connector.read.ScanBuilder
import org.apache.spark.sql.connector.read.streaming.ReportsSinkMetrics
import org.apache.spark.sql.connector.write.{LogicalWriteInfo, WriteBuilder}
import org.apache.spark.sql.types._
import org.apache.spark.sql.util.CaseInsensitiveStringMap

/**
 * One stream. Its name and description appear in plans, progress and logs, so they hold no option values.
 *
 * @param own the table's options; a read or a write may add or replace some
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
    // Spark calls this while it analyses a plan, in the session that shows it, which may differ from that of load().
    Redaction.extend(own)
    // ACCEPT_ANY_SCHEMA: a write has other columns than a read, and the sink checks them itself.
    // No TRUNCATE: a stream can't be overwritten, so Spark refuses that mode.
    ju.EnumSet.of(BATCH_READ, MICRO_BATCH_READ, BATCH_WRITE, STREAMING_WRITE, ACCEPT_ANY_SCHEMA)
  }

  // The scan checks the options, since it knows whether it is a stream or a batch read.
  override def newScanBuilder(options: CaseInsensitiveStringMap): ScanBuilder =
    new KinesisScanBuilder(own.updated(KinesisOptions(options)))

  override def newWriteBuilder(info: LogicalWriteInfo): WriteBuilder = {
    val checked = own.updated(KinesisOptions(info.options()))
    checked.check(KinesisOptions.Sink)
    new KinesisWriteBuilder(checked, info.schema(), written)
  }

  /** Metrics of a streaming query's last batch. Spark calls this on the table that the query was started with. */
  override def metrics(): ju.Map[String, String] = written.ofLastBatch()

  override def toString: String = name()
}

private[sparkkinesis] object KinesisTable {

  /** The columns of every read, in the engine's order. Those of kinesis.extraColumns follow. */
  val ReadSchema: StructType = StructType(
    Seq(
      StructField("data", BinaryType),
      StructField("streamName", StringType),
      StructField("partitionKey", StringType),
      StructField("sequenceNumber", StringType),
      StructField("approximateArrivalTimestamp", TimestampType)))

  /** The schema of a read with these options. Refuses options that are wrong for a read and for a write. */
  def inferSchema(options: CaseInsensitiveStringMap): StructType = {
    val checked = KinesisOptions(options)
    Redaction.extend(checked)
    checked.checkForReadOrWrite()
    checked.readSchema
  }

  /** A table with this schema. The options among its properties apply to every read and write. */
  def of(schema: StructType, properties: ju.Map[String, String]): Table =
    new KinesisTable(KinesisOptions(new CaseInsensitiveStringMap(properties)), schema)
}
