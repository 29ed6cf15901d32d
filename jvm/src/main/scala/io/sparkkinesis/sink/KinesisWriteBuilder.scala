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
 * Every output mode of a streaming query appends, as with Spark's Kafka sink: the complete and
 * update modes put each batch's result rows as further records.
 */
private[sparkkinesis] class KinesisWriteBuilder(options: KinesisOptions, schema: StructType, written: WrittenMetrics)
    extends WriteBuilder
    with SupportsTruncate
    with SupportsStreamingUpdateAsAppend {

  override def truncate(): WriteBuilder = this

  /** Asks the service for the streams, which may not exist, and may take rows without a key. */
  override def build(): Write = {
    val streams =
      if (options.has(KinesisOptions.AllowedStreams)) StreamColumn.Read(needed = !options.namesStream)
      else StreamColumn.Refused
    // A schema that no stream could make right is refused before any is asked for.
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
    val told = TaskTexts.registered(SparkSession.active.sparkContext)
    val factory = new KinesisWriterFactory(config, columns, refused, Some(told))
    new KinesisStreamingWrite(description(), refused, factory, () => written.batch(TaskTexts.drain(told)))
  }

  override def supportedCustomMetrics(): Array[CustomMetric] = WriteMetrics.all

  override def toString: String = description()

  private def newRefusedRows() = new RefusedRows(TaskTexts.registered(SparkSession.active.sparkContext))
}
