package io.sparkkinesis.sink

import io.sparkkinesis.bridge.StreamWriter
import org.apache.spark.unsafe.types.UTF8String

/** Puts records into streams. The engine's writer, or a test's. */
private[sink] trait RecordWriter {

  /** Takes a record; it may be sent at any time from now on. */
  def write(partitionKey: UTF8String, data: Array[Byte], explicitHashKey: UTF8String, streamName: UTF8String): Unit

  /** Returns when every record was accepted. */
  def flush(): Unit

  /** Returns when every record before a refused one was accepted. */
  def settle(): Unit

  /** What it did so far, for the SQL tab. */
  def metrics(): String

  /** The same, for the driver. */
  def told(): String

  def close(): Unit
}

/** The engine's. */
private[sink] final class EngineRecordWriter(writer: StreamWriter) extends RecordWriter {
  override def write(
      partitionKey: UTF8String,
      data: Array[Byte],
      explicitHashKey: UTF8String,
      streamName: UTF8String): Unit =
    writer.write(partitionKey, data, explicitHashKey, streamName)
  override def flush(): Unit = writer.flush()
  override def settle(): Unit = writer.settle()
  override def metrics(): String = writer.metrics()
  override def told(): String = writer.told()
  override def close(): Unit = writer.close()
}
