package io.sparkkinesis

import java.{util => ju}

import scala.collection.JavaConverters._

/**
 * The engine's configuration, on the driver and in every task. The JSON holds secrets, so this class hides it from the
 * printed text of factories and plans.
 */
private[sparkkinesis] final class EngineConfig private (val json: String) extends Serializable {
  override def toString: String = "EngineConfig(redacted)"
}

private[sparkkinesis] object EngineConfig {
  private val Version = 1

  /** For a streaming source, which stores claims beside the query's checkpoint. */
  def source(
      options: KinesisOptions,
      columns: Seq[String],
      checkpointLocation: String,
      minBatchesToRetain: Int): EngineConfig =
    build(
      options,
      "columns" -> columns.asJava,
      "checkpointLocation" -> checkpointLocation,
      "minBatchesToRetain" -> Int.box(minBatchesToRetain))

  /** For a batch read, which needs no checkpoint. */
  def batchRead(options: KinesisOptions, columns: Seq[String]): EngineConfig =
    build(options, "columns" -> columns.asJava)

  /** For the driver's side of a sink. */
  def sink(options: KinesisOptions): EngineConfig = build(options)

  /** For the tasks of a sink, with the driver's facts about its streams. */
  def sink(options: KinesisOptions, facts: String): EngineConfig =
    build(options, "facts" -> Json.read(facts))

  private def build(options: KinesisOptions, more: (String, AnyRef)*): EngineConfig = {
    val fields = new ju.LinkedHashMap[String, AnyRef]()
    fields.put("version", Int.box(Version))
    fields.put("options", Json.read(options.json))
    more.foreach { case (key, value) => fields.put(key, value) }
    new EngineConfig(Json.write(fields))
  }
}
