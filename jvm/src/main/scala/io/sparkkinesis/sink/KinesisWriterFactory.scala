package io.sparkkinesis.sink

import io.sparkkinesis.{EngineConfig, TaskInterrupt}
import io.sparkkinesis.bridge.StreamWriter
import org.apache.spark.TaskContext
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.connector.write.{DataWriter, DataWriterFactory}
import org.apache.spark.sql.connector.write.streaming.StreamingDataWriterFactory
import org.apache.spark.util.CollectionAccumulator

/**
 * Creates the writers of a job's tasks.
 *
 * @param reports collects each writer's metrics for the driver; None if the driver needs none
 */
private[sink] final class KinesisWriterFactory(
    config: EngineConfig,
    columns: RecordColumns,
    refused: RefusedRows,
    reports: Option[CollectionAccumulator[String]])
    extends DataWriterFactory
    with StreamingDataWriterFactory {

  override def createWriter(partitionId: Int, taskId: Long): DataWriter[InternalRow] =
    new KinesisDataWriter(
      columns,
      partitionId,
      refused,
      () => new EngineRecordWriter(open()),
      report => reports.foreach(_.add(report)))

  override def createWriter(partitionId: Int, taskId: Long, epochId: Long): DataWriter[InternalRow] =
    createWriter(partitionId, taskId)

  private def open(): StreamWriter = StreamWriter.open(config.json, TaskInterrupt.of(TaskContext.get()))
}
