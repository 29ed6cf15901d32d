package io.sparkkinesis.source

import io.sparkkinesis.KinesisOptions
import org.apache.spark.sql.connector.metric.CustomMetric
import org.apache.spark.sql.connector.read.{Batch, Scan}
import org.apache.spark.sql.connector.read.streaming.MicroBatchStream
import org.apache.spark.sql.types.StructType

/**
 * A read of one stream: in micro-batches without end, or as one batch of the records available.
 *
 * @param asked the columns that Spark asks for, in its order; all if it doesn't ask
 */
private[sparkkinesis] class KinesisScan(options: KinesisOptions, asked: Option[Seq[String]]) extends Scan {

  // A table may have columns that the options of this read don't add.
  private lazy val schema: StructType = {
    val all = options.readSchema
    asked.fold(all)(names => StructType(names.flatMap(name => all.fields.find(_.name == name))))
  }

  override def readSchema(): StructType = schema

  override def description(): String = s"KinesisScan[${options.stream}, ${options.consumerType}]"

  override def toMicroBatchStream(checkpointLocation: String): MicroBatchStream = {
    options.check(KinesisOptions.Source)
    new KinesisMicroBatchStream(options, columns, checkpointLocation)
  }

  // Spark calls toBatch more than once, and a read must keep its tasks.
  private lazy val batch: Batch = {
    options.check(KinesisOptions.BatchRead)
    new KinesisBatch(options, columns)
  }

  override def toBatch(): Batch = batch

  private def columns: Seq[String] = schema.fieldNames.toSeq

  override def supportedCustomMetrics(): Array[CustomMetric] = ReadMetrics.all

  override def columnarSupportMode(): Scan.ColumnarSupportMode = Scan.ColumnarSupportMode.SUPPORTED

  override def toString: String = description()
}
