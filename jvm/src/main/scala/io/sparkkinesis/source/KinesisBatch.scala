package io.sparkkinesis.source

import io.sparkkinesis.{EngineConfig, KinesisOptions, TaskInterrupt}
import io.sparkkinesis.bridge.BatchRead
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.connector.read.{Batch, InputPartition, PartitionReaderFactory}

/**
 * Maps Spark's batch read to calls of the engine, on the driver.
 *
 * @param columns of its rows, possibly none
 */
private[source] class KinesisBatch(options: KinesisOptions, columns: Seq[String]) extends Batch {

  private val config = EngineConfig.batchRead(options, columns)

  /**
   * One partition for each task, of one shard or of several. Computed once, since it fixes the read's end for all
   * attempts at its tasks.
   */
  private lazy val partitions: Array[InputPartition] =
    BatchRead.tasks(config.json, TaskInterrupt.Driver).map(task => new KinesisInputPartition(task))

  override def planInputPartitions(): Array[InputPartition] = partitions

  override def createReaderFactory(): PartitionReaderFactory =
    KinesisReaderFactory.forBatch(SparkSession.active.sparkContext, config)

  override def toString: String = s"KinesisBatch[${options.stream}]"
}
