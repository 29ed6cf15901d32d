package io.sparkkinesis.sink

import io.sparkkinesis.{Json, KinesisConnectorException, TaskTexts}
import org.apache.spark.util.CollectionAccumulator

/**
 * A row that can't become a record, described for the driver.
 *
 * @param context keys and values by turns, as the exception takes them
 */
private[sink] final case class RefusedRow(message: String, context: Seq[String])

/**
 * Brings the rows at which tasks stopped to the driver. They go with the tasks' accumulators: a commit message is part
 * of a task's result, which goes through `spark.serializer`, and Kryo may take registered classes only.
 */
private[sink] final class RefusedRows(texts: CollectionAccumulator[String]) extends Serializable {

  /** In a task, which then succeeds, since repeating it would help nobody. */
  def add(row: RefusedRow): Unit = texts.add(Json.write((row.message +: row.context).toArray))

  /** On the driver, where Spark doesn't repeat tasks: fails the job whose tasks are over. */
  def failIfAny(): Unit = {
    val refused = TaskTexts.drain(texts)
    refused.headOption.foreach { row =>
      val others =
        if (refused.length == 1) "" else s" (${refused.length - 1} more of the job's tasks stopped at such a row)"
      val told = Json.texts(row)
      throw new KinesisConnectorException(
        KinesisConnectorException.INVALID_ROW,
        "InvalidRow",
        false,
        told.head + others,
        told.tail.toArray,
        null)
    }
  }
}
