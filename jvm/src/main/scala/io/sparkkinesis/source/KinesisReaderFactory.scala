package io.sparkkinesis.source

import io.sparkkinesis.{EngineConfig, TaskInterrupt, TaskTexts}
import io.sparkkinesis.bridge.{HadoopCheckpointFiles, ShardReader}
import org.apache.spark.{SparkContext, TaskContext}
import org.apache.spark.broadcast.Broadcast
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.connector.read.{InputPartition, PartitionReader, PartitionReaderFactory}
import org.apache.spark.sql.vectorized.ColumnarBatch
import org.apache.spark.util.{CollectionAccumulator, SerializableConfiguration}

/** One task of one batch. The text is in the engine's format, opaque here; it holds no secrets. */
private[source] final class KinesisInputPartition(val task: String, location: Option[String] = None)
    extends InputPartition {
  override def preferredLocations(): Array[String] = location.toArray
  override def toString: String = s"KinesisInputPartition($task)"
}

/**
 * Creates the readers of a query's tasks. One factory serves all batches of a streaming query.
 *
 * @param hadoopConf broadcast in Spark's own class: broadcasts go through `spark.serializer`, and Kryo supports that
 *   class even if it takes registered classes only
 */
private[source] final class KinesisReaderFactory(
    config: EngineConfig,
    hadoopConf: Broadcast[SerializableConfiguration],
    reports: CollectionAccumulator[String])
    extends PartitionReaderFactory {

  override def supportColumnarReads(partition: InputPartition): Boolean = true

  override def createReader(partition: InputPartition): PartitionReader[InternalRow] =
    throw new UnsupportedOperationException("rows are read in columns: createColumnarReader is to be called instead")

  override def createColumnarReader(partition: InputPartition): PartitionReader[ColumnarBatch] =
    partition match {
      case shard: KinesisInputPartition =>
        new KinesisPartitionReader(context => new EngineRecordReader(open(shard.task, context)), send(shard.task, _))
      case other => throw new IllegalArgumentException(s"not a partition of a Kinesis stream: $other")
    }

  private def send(task: String, report: String): Unit =
    reports.add(TaskReport(Placement.firstShard(task), Placement.here(), report).text)

  private def open(task: String, context: TaskContext): ShardReader =
    ShardReader.open(
      config.json,
      task,
      new HadoopCheckpointFiles(hadoopConf.value.value),
      TaskInterrupt.of(context))
}

private[source] object KinesisReaderFactory {

  /** For a batch read, whose readers store no claims and send no reports. */
  def forBatch(context: SparkContext, config: EngineConfig): KinesisReaderFactory = {
    val files = context.broadcast(new SerializableConfiguration(context.hadoopConfiguration))
    new KinesisReaderFactory(config, files, TaskTexts.registered(context))
  }
}
