package io.sparkkinesis.sink

import org.apache.spark.sql.connector.write._
import org.apache.spark.sql.connector.write.streaming.{StreamingDataWriterFactory, StreamingWrite}

/**
 * The driver's side of a batch write. Records are in the stream as soon as Kinesis accepts them, so there is nothing
 * to commit or undo. Its only task is to fail the job if a row was refused.
 */
private[sink] class KinesisBatchWrite(description: String, refused: RefusedRows, factory: KinesisWriterFactory)
    extends BatchWrite {
  override def createBatchWriterFactory(info: PhysicalWriteInfo): DataWriterFactory = factory
  override def useCommitCoordinator(): Boolean = false
  override def commit(messages: Array[WriterCommitMessage]): Unit = refused.failIfAny()
  override def abort(messages: Array[WriterCommitMessage]): Unit = ()
  override def toString: String = description
}

/**
 * The driver's side of a streaming query's writes, for all of its batches.
 *
 * @param written called at the end of each batch, when all its tasks have reported
 */
private[sink] class KinesisStreamingWrite(
    description: String,
    refused: RefusedRows,
    factory: KinesisWriterFactory,
    written: () => Unit)
    extends StreamingWrite {
  override def createStreamingWriterFactory(info: PhysicalWriteInfo): StreamingDataWriterFactory = factory
  override def useCommitCoordinator(): Boolean = false
  override def commit(epochId: Long, messages: Array[WriterCommitMessage]): Unit = {
    written()
    refused.failIfAny()
  }
  override def abort(epochId: Long, messages: Array[WriterCommitMessage]): Unit = ()
  override def toString: String = description
}
