package io.sparkkinesis.sink

import io.sparkkinesis.{EngineConfig, KinesisOptions, TaskTexts}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.connector.write._
import org.apache.spark.sql.connector.write.streaming.StreamingWrite
import org.apache.spark.sql.internal.connector.SupportsStreamingUpdateAsAppend
import org.apache.spark.sql.types.StructType

/**
 * Every output mode of a streaming query appends, as with Spark's Kafka sink: the complete and
 * update modes put each batch's result rows as further records.
 */
private[sparkkinesis] class KinesisWriteBuilder(options: KinesisOptions, schema: StructType)
    extends WriteBuilder
    with SupportsTruncate
    with SupportsStreamingUpdateAsAppend {

  override def truncate(): WriteBuilder = this

  override def build(): Write = new KinesisWrite(options, RecordColumns.of(schema))
}

/** A write to one stream. */
private[sink] class KinesisWrite(options: KinesisOptions, columns: RecordColumns) extends Write {

  override def description(): String = s"KinesisWrite[${options.stream}]"

  override def toBatch: BatchWrite = {
    val refused = newRefusedRows()
    new KinesisBatchWrite(description(), refused, factory(refused))
  }

  override def toStreaming: StreamingWrite = {
    val refused = newRefusedRows()
    new KinesisStreamingWrite(description(), refused, factory(refused))
  }

  override def toString: String = description()

  private def newRefusedRows() = new RefusedRows(TaskTexts.registered(SparkSession.active.sparkContext))

  private def factory(refused: RefusedRows) = new KinesisWriterFactory(EngineConfig.sink(options), columns, refused)
}
