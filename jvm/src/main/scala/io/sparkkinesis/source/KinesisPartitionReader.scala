package io.sparkkinesis.source

import org.apache.spark.TaskContext
import org.apache.spark.sql.connector.metric.CustomTaskMetric
import org.apache.spark.sql.connector.read.PartitionReader
import org.apache.spark.sql.vectorized.ColumnarBatch
import org.apache.spark.util.TaskFailureListener

/**
 * Reads one shard, or several, in one batch. The batch's end is claimed once, for all attempts: by the engine when it
 * has read to the end, or here when a task closes the reader early because it needs no more rows. A task that fails or
 * is killed claims nothing.
 *
 * @param send gets the engine's report, once
 */
private[source] final class KinesisPartitionReader(
    open: TaskContext => RecordReader,
    send: String => Unit)
    extends PartitionReader[ColumnarBatch] {
  import KinesisPartitionReader._

  private val context = TaskContext.get()
  @volatile private var failed = false
  @volatile private var consumer: Thread = _
  private val ending = new Object
  private var reported = false
  @volatile private var closed = false
  private var finalMetrics = Array.empty[CustomTaskMetric]

  // Spark calls failure listeners before the completion listener that closes this reader.
  if (context != null) {
    context.addTaskFailureListener(new TaskFailureListener {
      override def onTaskFailure(context: TaskContext, error: Throwable): Unit = failed = true
    })
  }

  private val reader = open(context)

  override def next(): Boolean = {
    consumer = Thread.currentThread()
    val more = reader.next()
    if (!more) report(succeeded = true)
    more
  }

  override def get(): ColumnarBatch = reader.batch()

  override def close(): Unit = if (!closed) {
    closed = true
    try report(succeeded)
    finally {
      finalMetrics = ReadMetrics.ofTask(reader.metrics())
      release()
    }
  }

  // Spark calls this once more after it has closed the reader.
  override def currentMetricsValues(): Array[CustomTaskMetric] =
    if (closed) finalMetrics else ReadMetrics.ofTask(reader.metrics())

  private def succeeded: Boolean =
    !failed && !(context != null && context.isInterrupted()) && !Thread.currentThread().isInterrupted

  // A separate thread that feeds rows to another process may reach the end while the task closes the reader. The end is
  // decided and reported once; the second caller waits for it.
  private def report(succeeded: Boolean): Unit = ending.synchronized {
    if (!reported) {
      val report = reader.finish(succeeded)
      reported = true
      if (report != null) send(report)
    }
  }

  /**
   * Frees the columns that were read last. A separate thread may feed Python functions, and some Spark versions close
   * this reader before that thread has ended; it would then read freed memory. Another thread waits for it, since
   * Spark only ends it after this call.
   */
  private def release(): Unit = {
    val thread = consumer
    if (thread == null || (thread eq Thread.currentThread()) || !thread.isAlive) {
      reader.close()
    } else {
      val closer = new Thread(
        () => {
          thread.join(MaxConsumerWaitMs)
          reader.close()
        },
        "kinesis-reader-close")
      closer.setDaemon(true)
      closer.start()
    }
  }
}

private[source] object KinesisPartitionReader {

  /** Upper bound for the wait, since a pool's thread never ends; by then it has long finished the task's rows. */
  private val MaxConsumerWaitMs = 10000L
}
