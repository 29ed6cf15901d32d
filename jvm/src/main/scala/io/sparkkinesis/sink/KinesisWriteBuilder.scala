package io.sparkkinesis.sink

import io.sparkkinesis.{EngineConfig, Json, KinesisConnectorException, KinesisOptions, TaskTexts}
import io.sparkkinesis.bridge.SinkDriver
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.connector.metric.CustomMetric
import org.apache.spark.sql.connector.write._
import org.apache.spark.sql.connector.write.streaming.StreamingWrite
import org.apache.spark.sql.internal.connector.SupportsStreamingUpdateAsAppend
import org.apache.spark.sql.types.StructType

/**
 * Builds a write. Every output mode of a streaming query appends, as with Spark's Kafka sink: the complete and update
 * modes put each batch's result rows as further records.
 */
private[sparkkinesis] class KinesisWriteBuilder(options: KinesisOptions, schema: StructType, written: WrittenMetrics)
    extends WriteBuilder
    with SupportsTruncate
    with SupportsStreamingUpdateAsAppend {

  override def truncate(): WriteBuilder = this

  /** Describes the streams, to check that they exist and whether they take rows without a key. */
  override def build(): Write = {
    val streams =
      if (options.has(KinesisOptions.AllowedStreams)) StreamColumn.Read(needed = !options.namesStream)
      else StreamColumn.Ignored
    if (streams == StreamColumn.Ignored && schema.fieldNames.exists(_.equalsIgnoreCase(RecordColumns.StreamName))) {
      options.warnOnce(
        s"the rows' column ${RecordColumns.StreamName} is ignored, and all go to this stream: rows may only name " +
          s"streams that ${KinesisOptions.AllowedStreams} lists")
    }
    // Before any request, refuses a schema that is wrong for every stream.
    RecordColumns.of(schema, keyless = true, streams)
    val facts =
      try SinkDriver.facts(EngineConfig.sink(options).json, null)
      catch { case e: KinesisConnectorException => throw KinesisOptions.refusal(e) }
    val columns = RecordColumns.of(schema, keyless = Json.flag(facts, "keyless"), streams)
    new KinesisWrite(options, EngineConfig.sink(options, facts), columns, written)
  }
}

/** A write to a stream, or to several. */
private[sink] class KinesisWrite(
    options: KinesisOptions,
    config: EngineConfig,
    columns: RecordColumns,
    written: WrittenMetrics)
    extends Write {

  override def description(): String = s"KinesisWrite[${options.stream}]"

  override def toBatch: BatchWrite = {
    val refused = newRefusedRows()
    new KinesisBatchWrite(description(), refused, new KinesisWriterFactory(config, columns, refused, None))
  }

  override def toStreaming: StreamingWrite = {
    val refused = newRefusedRows()
    val reports = TaskTexts.registered(SparkSession.active.sparkContext)
    val factory = new KinesisWriterFactory(config, columns, refused, Some(reports))
    new KinesisStreamingWrite(description(), refused, factory, () => written.batch(TaskTexts.drain(reports)))
  }

  override def supportedCustomMetrics(): Array[CustomMetric] = WriteMetrics.all

  override def toString: String = description()

  private def newRefusedRows() = new RefusedRows(TaskTexts.registered(SparkSession.active.sparkContext))
}
