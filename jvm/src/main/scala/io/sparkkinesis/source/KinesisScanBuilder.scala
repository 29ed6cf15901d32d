package io.sparkkinesis.source

import io.sparkkinesis.KinesisOptions
import org.apache.spark.sql.connector.read.{Scan, SupportsPushDownRequiredColumns}
import org.apache.spark.sql.types.StructType

/**
 * Builds the scan of a stream with the columns that Spark asks for, or with all of them if it doesn't ask. It asks for
 * those that a batch read's query uses. For a streaming query Spark 4.3 asks for all, and earlier versions don't ask.
 */
private[sparkkinesis] final class KinesisScanBuilder(options: KinesisOptions) extends SupportsPushDownRequiredColumns {

  private var asked: Option[Seq[String]] = None

  override def pruneColumns(requiredSchema: StructType): Unit = {
    asked = Some(requiredSchema.fieldNames.toSeq)
  }

  override def build(): Scan = new KinesisScan(options, asked)
}
