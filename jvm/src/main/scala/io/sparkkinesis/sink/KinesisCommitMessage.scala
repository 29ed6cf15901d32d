package io.sparkkinesis.sink

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.sql.connector.write.WriterCommitMessage

/**
 * A row that can't become a record, described for the driver.
 *
 * @param context keys and values by turns, as the exception takes them
 */
private[sink] final case class RefusedRow(message: String, context: Seq[String])

/** What a task tells the driver: all its records were accepted, or it stopped at a row. */
private[sink] final case class KinesisCommitMessage(refused: Option[RefusedRow]) extends WriterCommitMessage

private[sink] object KinesisCommitMessage {
  /** Fails the job on the driver, where Spark doesn't repeat tasks. */
  def failIfRefused(messages: Array[WriterCommitMessage]): Unit = {
    val refused = messages.collect { case KinesisCommitMessage(Some(row)) => row }
    refused.headOption.foreach { row =>
      val others =
        if (refused.length == 1) "" else s" (${refused.length - 1} more of the job's tasks stopped at such a row)"
      throw new KinesisConnectorException(
        KinesisConnectorException.INVALID_ROW,
        "InvalidRow",
        false,
        row.message + others,
        row.context.toArray,
        null)
    }
  }
}
