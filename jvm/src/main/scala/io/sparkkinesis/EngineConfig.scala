package io.sparkkinesis

import java.{util => ju}

/**
 * What the engine is opened with, on the driver and in every task. The JSON holds secrets, hence
 * this class around it: whoever prints a factory or a plan sees nothing of it.
 */
private[sparkkinesis] final class EngineConfig private (val json: String) extends Serializable {
  override def toString: String = "EngineConfig(redacted)"
}

private[sparkkinesis] object EngineConfig {
  private val Version = 1

  /** For a source, which keeps claims beside the query's checkpoint. */
  def source(options: KinesisOptions, checkpointLocation: String, minBatchesToRetain: Int): EngineConfig =
    build(
      options,
      "checkpointLocation" -> checkpointLocation,
      "minBatchesToRetain" -> Int.box(minBatchesToRetain))

  /** For a batch read, which needs no checkpoint. */
  def batchRead(options: KinesisOptions): EngineConfig = build(options)

  /** For a sink. */
  def sink(options: KinesisOptions): EngineConfig = build(options)

  /** For the tasks of a sink, with what the driver found out of its streams. */
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
