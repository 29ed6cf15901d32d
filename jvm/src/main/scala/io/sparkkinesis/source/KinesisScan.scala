package io.sparkkinesis.source

import io.sparkkinesis.KinesisOptions
import org.apache.spark.sql.connector.metric.CustomMetric
import org.apache.spark.sql.connector.read.{Batch, Scan}
import org.apache.spark.sql.connector.read.streaming.MicroBatchStream
import org.apache.spark.sql.types.StructType

/** A read of one stream: in micro-batches without end, or as one batch of the records available. */
private[sparkkinesis] class KinesisScan(options: KinesisOptions) extends Scan {

  private lazy val schema = options.readSchema

  override def readSchema(): StructType = schema

  override def description(): String = s"KinesisScan[${options.stream}, ${options.consumerType}]"

  override def toMicroBatchStream(checkpointLocation: String): MicroBatchStream = {
    options.check(KinesisOptions.Source)
    new KinesisMicroBatchStream(options, checkpointLocation)
  }

  // Spark calls toBatch more than once, and a read must keep its tasks.
  private lazy val batch: Batch = {
    options.check(KinesisOptions.BatchRead)
    new KinesisBatch(options)
  }

  override def toBatch(): Batch = batch

  override def supportedCustomMetrics(): Array[CustomMetric] = ReadMetrics.all

  override def columnarSupportMode(): Scan.ColumnarSupportMode = Scan.ColumnarSupportMode.SUPPORTED

  override def toString: String = description()
}
