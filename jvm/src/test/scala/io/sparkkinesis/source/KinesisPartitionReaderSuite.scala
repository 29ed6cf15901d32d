package io.sparkkinesis.source

import java.util.concurrent.{ConcurrentLinkedQueue, CountDownLatch, TimeUnit}

import scala.collection.JavaConverters._
import scala.util.Try

import io.sparkkinesis.TaskTexts
import org.apache.spark.{SparkConf, SparkContext, TaskContext}
import org.apache.spark.sql.vectorized.ColumnarBatch
import org.scalatest.BeforeAndAfterAll
import org.scalatest.concurrent.Eventually
import org.scalatest.funsuite.AnyFunSuite
import org.scalatest.time.{Seconds, Span}

/** The calls that the readers of this JVM's tasks received. */
private[source] object Calls {
  val all = new ConcurrentLinkedQueue[String]
  @volatile var reading = new CountDownLatch(1)

  def reset(): Unit = {
    all.clear()
    reading = new CountDownLatch(1)
  }
  def list: Seq[String] = all.asScala.toSeq
}

/** A reader with a number of batches, which reports like the engine. */
private[source] class CountingReader(batches: Int) extends RecordReader {
  private var left = batches
  override def next(): Boolean = {
    left -= 1
    left >= 0
  }
  override def batch(): ColumnarBatch = null
  override def finish(succeeded: Boolean): String = {
    Calls.all.add(s"finish($succeeded)")
    if (succeeded) "report" else null
  }
  override def metrics(): String = s"""{"records":${batches - left},"requests":7,"millisBehindLatest":null,"other":1}"""
  override def close(): Unit = Calls.all.add("close")
}

class KinesisPartitionReaderSuite extends AnyFunSuite with BeforeAndAfterAll with Eventually {

  override implicit val patienceConfig: PatienceConfig = PatienceConfig(Span(30, Seconds))

  private var sc: SparkContext = _

  override def beforeAll(): Unit =
    sc = new SparkContext(
      new SparkConf().setMaster("local[1]").setAppName("reader").set("spark.ui.enabled", "false"))

  override def afterAll(): Unit = if (sc != null) sc.stop()

  /** Runs a task with a reader. Like Spark, closes the reader when the task completes, whether it succeeds or fails. */
  private def run(body: KinesisPartitionReader => Unit): (Try[Unit], Seq[String]) = {
    Calls.reset()
    val reports = TaskTexts.registered(sc)
    val result = Try {
      sc.parallelize(Seq(1), 1).foreachPartition { _ =>
        val reader = new KinesisPartitionReader(_ => new CountingReader(batches = 2), reports.add(_))
        TaskContext.get().addTaskCompletionListener[Unit](_ => reader.close())
        body(reader)
      }
    }
    (result, TaskTexts.drain(reports))
  }

  test("a task that reads to the end reports once") {
    val (result, reports) = run(reader => while (reader.next()) reader.get())
    assert(result.isSuccess)
    assert(Calls.list == Seq("finish(true)", "close"))
    assert(reports == Seq("report"))
  }

  test("a task that needs no more rows claims what was fetched") {
    val (result, reports) = run(reader => assert(reader.next()))
    assert(result.isSuccess)
    assert(Calls.list == Seq("finish(true)", "close"))
    assert(reports == Seq("report"))
  }

  test("a task that fails claims nothing") {
    val (result, reports) = run { reader =>
      reader.next()
      throw new IllegalStateException("the user's function failed")
    }
    assert(result.isFailure)
    assert(Calls.list == Seq("finish(false)", "close"))
    assert(reports.isEmpty)
  }

  test("a task that is killed claims nothing, even if it ends by itself") {
    val canceller = new Thread(() => {
      Calls.reading.await(30, TimeUnit.SECONDS)
      sc.cancelAllJobs()
    })
    Calls.reset()
    val reports = TaskTexts.registered(sc)
    canceller.start()
    val result = Try {
      sc.parallelize(Seq(1), 1).foreachPartition { _ =>
        val reader = new KinesisPartitionReader(_ => new CountingReader(batches = 2), reports.add(_))
        TaskContext.get().addTaskCompletionListener[Unit](_ => reader.close())
        reader.next()
        Calls.reading.countDown()
        while (!TaskContext.get().isInterrupted()) Thread.`yield`()
      }
    }
    canceller.join()
    assert(result.isFailure)
    eventually(assert(Calls.list == Seq("finish(false)", "close")))
    assert(TaskTexts.drain(reports).isEmpty)
  }

  test("metrics are those the engine knows, also after the end") {
    def metrics(reader: KinesisPartitionReader) =
      reader.currentMetricsValues().map(metric => metric.name() -> metric.value()).toMap
    run { reader =>
      reader.next()
      assert(metrics(reader) == Map("records" -> 1L, "requests" -> 7L))
      reader.next()
      reader.close()
      assert(metrics(reader) == Map("records" -> 2L, "requests" -> 7L))
    }._1.get
  }

  test("memory is freed only when the thread that reads it has ended") {
    Calls.reset()
    val reader = new KinesisPartitionReader(_ => new CountingReader(batches = 2), _ => ())
    val done = new CountDownLatch(1)
    val consumer = new Thread(() => {
      reader.next()
      Calls.reading.countDown()
      done.await()
    })
    consumer.start()
    Calls.reading.await()
    reader.close()
    assert(Calls.list == Seq("finish(true)"))
    done.countDown()
    eventually(assert(Calls.list == Seq("finish(true)", "close")))
  }

  test("the end is reported once when a feeding thread comes to it while the task closes the reader") {
    Calls.reset()
    val (finishing, finished) = (new CountDownLatch(1), new CountDownLatch(1))
    val reports = TaskTexts.registered(sc)
    val reader = new KinesisPartitionReader(
      _ =>
        new CountingReader(batches = 0) {
          override def finish(succeeded: Boolean): String = {
            finishing.countDown()
            finished.await()
            super.finish(succeeded)
          }
        },
      reports.add(_))
    val feeder = new Thread(() => reader.next())
    feeder.start()
    finishing.await()
    val closer = new Thread(() => reader.close())
    closer.start()
    // The closer waits for the feeder, or has ended without it.
    eventually(assert(Set(Thread.State.BLOCKED, Thread.State.WAITING, Thread.State.TERMINATED)(closer.getState)))
    finished.countDown()
    Seq(feeder, closer).foreach(_.join())
    assert(TaskTexts.drain(reports) == Seq("report"))
    eventually(assert(Calls.list == Seq("finish(true)", "close")))
  }
}
