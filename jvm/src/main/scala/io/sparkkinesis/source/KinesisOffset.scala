package io.sparkkinesis.source

import org.apache.spark.sql.connector.read.streaming.Offset

/** The engine's offset, of which Spark only needs the text: every shard's resolved start in a batch. */
private[sparkkinesis] final class KinesisOffset(text: String) extends Offset {
  override def json(): String = text
}
