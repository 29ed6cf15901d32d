package io.sparkkinesis.source

import io.sparkkinesis.bridge.ShardReader
import org.apache.spark.sql.vectorized.ColumnarBatch

/** Reads a task's records in one batch. Implemented by the engine's reader, and by tests. */
private[source] trait RecordReader {

  /** Loads the next columns. False at the batch's end, once it is claimed. */
  def next(): Boolean

  /** The columns loaded last, valid until the following `next()` or `close()`. */
  def batch(): ColumnarBatch

  /** Ends the read, and claims the end of the fetched records if the task succeeded. Returns the report, or null. */
  def finish(succeeded: Boolean): String

  /** The metrics so far, as JSON. Not after `close()`. */
  def metrics(): String

  def close(): Unit
}

/** The engine's reader. */
private[source] final class EngineRecordReader(reader: ShardReader) extends RecordReader {
  override def next(): Boolean = reader.next()
  override def batch(): ColumnarBatch = reader.batch()
  override def finish(succeeded: Boolean): String = reader.finish(succeeded)
  override def metrics(): String = reader.metrics()
  override def close(): Unit = reader.close()
}
