package io.sparkkinesis.source

/**
 * What a task tells the driver.
 *
 * @param shard the shard by which the task was placed
 * @param executor the executor that read, as a preferred location
 * @param engine the engine's report
 */
private[source] final case class TaskReport(shard: String, executor: String, engine: String) {

  /** The report as a text, for [[io.sparkkinesis.TaskTexts]]. */
  def text: String = s"$shard\n$executor\n$engine"
}

private[source] object TaskReport {

  /** The report of this text. */
  def of(text: String): TaskReport = {
    val Array(shard, executor, engine) = text.split("\n", 3)
    TaskReport(shard, executor, engine)
  }
}
