package io.sparkkinesis.sink

import io.sparkkinesis.bridge.StreamWriter
import org.apache.spark.unsafe.types.UTF8String

/** Puts records into streams. Implemented by the engine's writer, and by tests. */
private[sink] trait RecordWriter {

  /** Accepts a record, which may be sent at any time from then on. */
  def write(partitionKey: UTF8String, data: Array[Byte], explicitHashKey: UTF8String, streamName: UTF8String): Unit

  /** Returns when Kinesis has accepted every record. */
  def flush(): Unit

  /** Returns when Kinesis has accepted every record before a refused one. */
  def settle(): Unit

  /** The metrics so far as JSON, for the SQL tab. */
  def metrics(): String

  /** The metrics so far in the engine's format, for the driver to combine. */
  def report(): String

  def close(): Unit
}

/** The engine's writer. */
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
  override def report(): String = writer.report()
  override def close(): Unit = writer.close()
}
