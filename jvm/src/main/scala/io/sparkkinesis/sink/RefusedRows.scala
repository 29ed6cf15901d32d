package io.sparkkinesis.sink

import io.sparkkinesis.{Json, KinesisConnectorException, TaskTexts}
import org.apache.spark.util.CollectionAccumulator

/**
 * A row that can't become a record, described for the driver.
 *
 * @param context alternating keys and values, as in [[io.sparkkinesis.KinesisConnectorException]]
 */
private[sink] final case class RefusedRow(message: String, context: Seq[String])

/**
 * Carries the refused rows, at which tasks stopped, to the driver in an accumulator. Commit messages don't serve: they
 * are part of a task's result, which goes through `spark.serializer`, and Kryo may take registered classes only.
 */
private[sink] final class RefusedRows(texts: CollectionAccumulator[String]) extends Serializable {

  /** Called in a task, which then succeeds, since repeating it can't help. */
  def add(row: RefusedRow): Unit = texts.add(Json.write((row.message +: row.context).toArray))

  /** Called on the driver after all tasks. Fails the job if a row was refused; Spark doesn't repeat tasks for it. */
  def failIfAny(): Unit = {
    val refused = TaskTexts.drain(texts)
    refused.headOption.foreach { row =>
      val others =
        if (refused.length == 1) "" else s" (${refused.length - 1} more of the job's tasks stopped at such a row)"
      val parts = Json.texts(row)
      throw new KinesisConnectorException(
        KinesisConnectorException.INVALID_ROW,
        "InvalidRow",
        false,
        parts.head + others,
        parts.tail.toArray,
        null)
    }
  }
}
