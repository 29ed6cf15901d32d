package io.sparkkinesis.sink

import java.{util => ju}

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.connector.write.DataWriter

/** A writer of rows for Spark 4, which passes all rows of a task at once. */
private[sink] trait AllRowsWriter extends DataWriter[InternalRow] {

  /** Writes all rows and flushes them. */
  protected def writeToTheEnd(rows: ju.Iterator[InternalRow]): Unit

  override def writeAll(rows: ju.Iterator[InternalRow]): Unit = writeToTheEnd(rows)
}
