package io.sparkkinesis.sink

import io.sparkkinesis.{EngineConfig, KinesisOptions}
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

  override def toBatch: BatchWrite = new KinesisBatchWrite(description(), factory)

  override def toStreaming: StreamingWrite = new KinesisStreamingWrite(description(), factory)

  override def toString: String = description()

  private def factory = new KinesisWriterFactory(EngineConfig.sink(options), columns)
}
