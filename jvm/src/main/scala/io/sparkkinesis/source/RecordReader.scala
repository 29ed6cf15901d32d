package io.sparkkinesis.source

import io.sparkkinesis.bridge.ShardReader
import org.apache.spark.sql.vectorized.ColumnarBatch

/** One shard's records in one batch. The engine's reader, or a test's. */
private[source] trait RecordReader {

  /** Loads the next columns; false at the batch's end, which is then claimed. */
  def next(): Boolean

  /** The columns loaded last. They are gone after the following `next()` or `close()`. */
  def batch(): ColumnarBatch

  /** Ends the reading, and claims what was fetched if the task succeeded. The report, or null. */
  def finish(succeeded: Boolean): String

  /** What it did so far, as JSON. Not after `close()`. */
  def metrics(): String

  def close(): Unit
}

/** The engine's. */
private[source] final class EngineRecordReader(reader: ShardReader) extends RecordReader {
  override def next(): Boolean = reader.next()
  override def batch(): ColumnarBatch = reader.batch()
  override def finish(succeeded: Boolean): String = reader.finish(succeeded)
  override def metrics(): String = reader.metrics()
  override def close(): Unit = reader.close()
}
