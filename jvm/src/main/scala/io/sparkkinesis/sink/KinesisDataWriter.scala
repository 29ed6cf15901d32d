package io.sparkkinesis.sink

import java.{util => ju}

import scala.collection.JavaConverters._
import scala.util.control.NonFatal

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.connector.metric.CustomTaskMetric
import org.apache.spark.sql.connector.write.WriterCommitMessage
import org.slf4j.LoggerFactory

/**
 * Writes one partition's rows. Its commit message is null; `refusedRows` carries the rest to the driver.
 *
 * Repeating the task can't turn an invalid row into a record, and would write the rows before it again. Such a row
 * therefore doesn't fail the task: the writer takes no further rows, waits for the records that it has sent, and
 * reports the row to the driver, which fails the job. All other failures are thrown, and Spark repeats the task.
 */
private[sink] final class KinesisDataWriter(
    columns: RecordColumns,
    partitionId: Int,
    refusedRows: RefusedRows,
    open: () => RecordWriter,
    addReport: String => Unit)
    extends AllRowsWriter {
  import KinesisDataWriter._

  private var rows = 0L
  private var refused: Option[RefusedRow] = None
  // Opened for the first record, since many of a batch's partitions are empty.
  private var opened: Option[RecordWriter] = None

  override def write(row: InternalRow): Unit = if (refused.isEmpty) {
    rows += 1
    try {
      val partitionKey = columns.partitionKeyOf(row)
      val data = columns.dataOf(row)
      writer.write(partitionKey, data, columns.explicitHashKeyOf(row), columns.streamNameOf(row))
    } catch {
      case e: InvalidRowException =>
        val message = s"Row $rows of partition $partitionId can't be written to Kinesis: ${e.getMessage}."
        refused = Some(RefusedRow(message, Nil))
      case e: KinesisConnectorException if e.kind() == KinesisConnectorException.INVALID_ROW => refuse(e)
    }
  }

  override def commit(): WriterCommitMessage = {
    flush()
    refused.foreach { row =>
      settle()
      refusedRows.add(row)
    }
    opened.foreach(writer => addReport(writer.report()))
    null
  }

  /**
   * Writes and flushes all rows. Spark 4 reads the metrics after this call, not after `commit`, so the flush makes them
   * complete. Spark 3.5 reads them after the last `write`, so records that `commit` flushes are missing.
   */
  override protected def writeToTheEnd(rows: ju.Iterator[InternalRow]): Unit = {
    while (rows.hasNext) write(rows.next())
    flush()
  }

  override def currentMetricsValues(): Array[CustomTaskMetric] =
    opened.fold(Array.empty[CustomTaskMetric])(writer => WriteMetrics.ofTask(writer.metrics()))

  override def abort(): Unit = close()

  override def close(): Unit = {
    val open = opened
    opened = None
    open.foreach(_.close())
  }

  private def flush(): Unit = if (refused.isEmpty) {
    try opened.foreach(_.flush())
    catch { case e: KinesisConnectorException if e.kind() == KinesisConnectorException.INVALID_ROW => refuse(e) }
  }

  private def writer: RecordWriter = opened.getOrElse {
    val writer = open()
    opened = Some(writer)
    writer
  }

  /** Records the engine's refusal of a row, which may be earlier than the row just written. */
  private def refuse(e: KinesisConnectorException): Unit = {
    val context = e.context().asScala.toList.flatMap { case (key, value) => List(key, value) }
    refused = Some(RefusedRow(s"In partition $partitionId: ${e.getMessage}", context))
  }

  /** Waits for the records already sent. A failure is only logged: the job fails anyway, because of the refused row. */
  private def settle(): Unit =
    try opened.foreach(_.settle())
    catch {
      case NonFatal(e) => log.warn("Records before a refused row may not all have been accepted", e)
    }
}

private[sink] object KinesisDataWriter {
  private val log = LoggerFactory.getLogger(classOf[KinesisDataWriter])
}
