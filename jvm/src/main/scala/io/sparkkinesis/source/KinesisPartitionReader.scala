package io.sparkkinesis.source

import io.sparkkinesis.{EngineConfig, TaskInterrupt}
import io.sparkkinesis.bridge.{HadoopCheckpointFiles, ShardReader}
import org.apache.hadoop.conf.Configuration
import org.apache.spark.TaskContext
import org.apache.spark.sql.connector.read.PartitionReader
import org.apache.spark.sql.vectorized.ColumnarBatch
import org.apache.spark.util.TaskFailureListener

/**
 * Reads one shard in one batch. Where the batch ends is claimed once, for all attempts: by the
 * engine when it has read to the end, and else here, when a task closes the reader early because
 * it needs no more rows. A task that fails or is killed claims nothing.
 */
private[source] final class KinesisPartitionReader(
    config: EngineConfig,
    task: String,
    hadoopConf: Configuration,
    reports: ReportAccumulator)
    extends PartitionReader[ColumnarBatch] {

  private val context = TaskContext.get()
  @volatile private var failed = false
  private var reported = false
  private var closed = false

  // Spark tells failure listeners before the completion listener that closes this reader.
  if (context != null) {
    context.addTaskFailureListener(new TaskFailureListener {
      override def onTaskFailure(context: TaskContext, error: Throwable): Unit = failed = true
    })
  }

  private val reader =
    ShardReader.open(config.json, task, new HadoopCheckpointFiles(hadoopConf), TaskInterrupt.of(context))

  override def next(): Boolean = {
    val more = reader.next()
    if (!more) report(succeeded = true)
    more
  }

  override def get(): ColumnarBatch = reader.batch()

  override def close(): Unit = if (!closed) {
    closed = true
    try report(succeeded)
    finally reader.close()
  }

  private def succeeded: Boolean =
    !failed && !(context != null && context.isInterrupted()) && !Thread.currentThread().isInterrupted

  private def report(succeeded: Boolean): Unit = if (!reported) {
    val report = reader.finish(succeeded)
    reported = true
    if (report != null) reports.add(report)
  }
}
