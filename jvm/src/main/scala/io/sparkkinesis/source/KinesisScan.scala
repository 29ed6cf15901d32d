package io.sparkkinesis.source

import io.sparkkinesis.{KinesisOptions, KinesisTable}
import org.apache.spark.sql.connector.read.Scan
import org.apache.spark.sql.connector.read.streaming.MicroBatchStream
import org.apache.spark.sql.types.StructType

/** A streaming read of one stream. */
private[sparkkinesis] class KinesisScan(options: KinesisOptions) extends Scan {

  override def readSchema(): StructType = KinesisTable.ReadSchema

  override def description(): String = s"KinesisScan[${options.stream}, ${options.consumerType}]"

  override def toMicroBatchStream(checkpointLocation: String): MicroBatchStream =
    new KinesisMicroBatchStream(options, checkpointLocation)

  override def columnarSupportMode(): Scan.ColumnarSupportMode = Scan.ColumnarSupportMode.SUPPORTED

  override def toString: String = description()
}
