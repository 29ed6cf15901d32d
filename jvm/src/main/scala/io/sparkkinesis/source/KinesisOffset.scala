package io.sparkkinesis.source

import org.apache.spark.sql.connector.read.streaming.Offset

/** The engine's offset: every shard's resolved start in a batch. Spark treats it as an opaque text. */
private[sparkkinesis] final class KinesisOffset(text: String) extends Offset {
  override def json(): String = text
}
