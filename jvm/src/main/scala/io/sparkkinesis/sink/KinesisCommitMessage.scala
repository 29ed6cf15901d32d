package io.sparkkinesis.sink

import java.{util => ju}

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.sql.connector.write.WriterCommitMessage

/** A row that can't become a record, described for the driver. */
private[sink] final case class RefusedRow(message: String, context: ju.Map[String, String])

/** What a task tells the driver: all its records were accepted, or it stopped at a row. */
private[sink] final case class KinesisCommitMessage(refused: Option[RefusedRow]) extends WriterCommitMessage

private[sink] object KinesisCommitMessage {

  /** The kind of error that a row is to blame for, at the engine's boundary and here. */
  val InvalidRow = 15

  /** Fails the job on the driver, where Spark doesn't repeat tasks. */
  def failIfRefused(messages: Array[WriterCommitMessage]): Unit = {
    val refused = messages.collect { case KinesisCommitMessage(Some(row)) => row }
    refused.headOption.foreach { row =>
      val others =
        if (refused.length == 1) "" else s" (${refused.length - 1} more tasks stopped at such a row)"
      throw new KinesisConnectorException(InvalidRow, "InvalidRow", false, row.message + others, row.context)
    }
  }
}
