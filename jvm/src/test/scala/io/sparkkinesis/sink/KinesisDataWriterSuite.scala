package io.sparkkinesis.sink

import scala.collection.mutable.ArrayBuffer

import io.sparkkinesis.KinesisConnectorException
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String
import org.apache.spark.util.CollectionAccumulator
import org.scalatest.funsuite.AnyFunSuite

class KinesisDataWriterSuite extends AnyFunSuite {

  private val columns = RecordColumns.of(new StructType().add("data", StringType).add("partitionKey", StringType))

  private def row(data: String, key: String): InternalRow =
    InternalRow(UTF8String.fromString(data), UTF8String.fromString(key))

  private def failure(kind: Int): KinesisConnectorException =
    new KinesisConnectorException(kind, "Kind", false, "the engine says so", Array("stream", "orders"), null)

  /** Collects records, and throws the exceptions that the test sets. */
  private class Recorder extends RecordWriter {
    val written = ArrayBuffer.empty[String]
    var onWrite: Option[Throwable] = None
    var onFlush: Option[Throwable] = None
    var flushes = 0
    var settles = 0
    var closes = 0

    override def write(
        partitionKey: UTF8String,
        data: Array[Byte],
        explicitHashKey: UTF8String,
        streamName: UTF8String): Unit = {
      onWrite.foreach(throw _)
      written += s"$partitionKey=${new String(data, "UTF-8")}"
    }
    override def flush(): Unit = {
      flushes += 1
      onFlush.foreach(throw _)
    }
    override def settle(): Unit = {
      settles += 1
      onFlush.foreach(throw _)
    }
    override def metrics(): String = s"""{"records":${written.size},"putMillisP99":null,"other":"x"}"""
    override def report(): String = metrics()
    override def close(): Unit = closes += 1
  }

  /** A job whose tasks' accumulators reach the driver immediately. */
  private class Job {
    val refused = new RefusedRows(new CollectionAccumulator[String])
    val reports = ArrayBuffer.empty[String]
    def writer(recorder: Recorder): KinesisDataWriter =
      new KinesisDataWriter(columns, 3, refused, () => recorder, reports += _)

    /** Commits the tasks, then the job, which may fail. Checks that only null goes through spark.serializer. */
    def end(tasks: KinesisDataWriter*): Unit = {
      val messages = tasks.map(_.commit())
      assert(messages.forall(_ == null))
      new KinesisBatchWrite("test", refused, null).commit(messages.toArray)
    }
  }

  private def writer(recorder: Recorder): KinesisDataWriter = new Job().writer(recorder)

  test("rows are written, and accepted before the task ends") {
    val (job, recorder) = (new Job, new Recorder)
    val task = job.writer(recorder)
    task.write(row("a", "k1"))
    task.write(row("b", "k2"))
    job.end(task)
    task.close()
    assert(recorder.written == Seq("k1=a", "k2=b"))
    assert(recorder.flushes == 1 && recorder.closes == 1)
  }

  test("metrics are reported with the commit, and are whole when Spark has handed all rows over") {
    val (job, recorder) = (new Job, new Recorder)
    val task = job.writer(recorder)
    task.writeAll(java.util.Arrays.asList(row("a", "k1"), row("b", "k2")).iterator())
    assert(recorder.flushes == 1)
    assert(task.currentMetricsValues().map(metric => metric.name() -> metric.value()).toSeq == Seq("records" -> 2L))
    job.end(task)
    assert(job.reports.map(_.contains(""""records":2""")) == Seq(true))
  }

  test("a partition without rows opens no writer") {
    val job = new Job
    val task = new KinesisDataWriter(columns, 0, job.refused, () => fail("opened"), _ => fail("nothing was done"))
    assert(task.currentMetricsValues().isEmpty)
    job.end(task)
    task.close()
  }

  test("a bad row doesn't fail the task: what was sent is settled, the rows after it are skipped, the driver fails") {
    val (job, recorder) = (new Job, new Recorder)
    val task = job.writer(recorder)
    task.write(row("a", "k1"))
    task.write(row("secret payload", null))
    task.write(row("c", "k3"))
    val error = intercept[KinesisConnectorException](job.end(job.writer(new Recorder), task))
    assert(recorder.written == Seq("k1=a"))
    assert(recorder.flushes == 0 && recorder.settles == 1)
    assert(error.kind() == KinesisConnectorException.INVALID_ROW)
    assert(error.getMessage.contains("Row 2 of partition 3"))
    assert(error.getMessage.contains("partitionKey is null"))
    assert(!error.getMessage.contains("secret payload"))
  }

  test("the streaming write's driver side fails too") {
    val job = new Job
    var batches = 0
    val write = new KinesisStreamingWrite("test", job.refused, null, () => batches += 1)
    write.commit(4, Array(job.writer(new Recorder).commit()))
    val task = job.writer(new Recorder)
    task.write(row(null, "k"))
    val error = intercept[KinesisConnectorException](write.commit(5, Array(task.commit(), null)))
    assert(error.getMessage.contains("data is null"))
    assert(batches == 2)
  }

  test("a record that the engine refuses is a bad row, at write and at flush") {
    val (job, atWrite) = (new Job, new Recorder)
    val first = job.writer(atWrite)
    atWrite.onWrite = Some(failure(15))
    first.write(row("a", "k"))
    atWrite.onWrite = None
    first.write(row("b", "k"))
    assert(atWrite.written.isEmpty)

    val atFlush = new Recorder
    val second = job.writer(atFlush)
    second.write(row("a", "k"))
    atFlush.onFlush = Some(failure(15))

    val error = intercept[KinesisConnectorException](job.end(first, second))
    assert(error.getMessage.contains("the engine says so"))
    assert(error.getMessage.contains("1 more of the job's tasks"))
    assert(atFlush.settles == 1)
    assert(error.context() == java.util.Collections.singletonMap("stream", "orders"))
  }

  test("other failures are the task's, for Spark to repeat it") {
    val recorder = new Recorder
    val task = writer(recorder)
    task.write(row("a", "k"))
    recorder.onFlush = Some(failure(16))
    assert(intercept[KinesisConnectorException](task.commit()).kind() == 16)
    recorder.onWrite = Some(failure(6))
    assert(intercept[KinesisConnectorException](task.write(row("b", "k"))).kind() == 6)
    task.abort()
    task.close()
    assert(recorder.closes == 1)
  }

  test("a failure after a bad row doesn't hide the row") {
    val (job, recorder) = (new Job, new Recorder)
    val task = job.writer(recorder)
    task.write(row("a", "k"))
    task.write(row("b", ""))
    recorder.onFlush = Some(failure(16))
    val error = intercept[KinesisConnectorException](job.end(task))
    assert(error.getMessage.contains("partitionKey is empty"))
  }

  test("an interrupt passes") {
    val recorder = new Recorder
    val task = writer(recorder)
    task.write(row("a", "k"))
    recorder.onFlush = Some(new InterruptedException("killed"))
    intercept[InterruptedException](task.commit())
  }
}
