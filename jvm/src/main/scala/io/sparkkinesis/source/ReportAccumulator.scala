package io.sparkkinesis.source

import java.{util => ju}
import java.util.concurrent.ConcurrentLinkedQueue

import scala.collection.mutable.ArrayBuffer

import org.apache.spark.SparkContext
import org.apache.spark.util.AccumulatorV2

/**
 * Brings the shard readers' reports to the driver with the results of their tasks. All attempts
 * at a shard's batch report the same, so it doesn't matter which of them arrive, or how often.
 */
private[source] class ReportAccumulator extends AccumulatorV2[String, ju.List[String]] {

  // Concurrent, because an executor's heartbeat serialises it while the task adds to it.
  private val reports = new ConcurrentLinkedQueue[String]

  // Spark asks this while it deserialises the accumulator, before the field is there.
  override def isZero: Boolean = reports == null || reports.isEmpty

  override def copy(): ReportAccumulator = {
    val other = new ReportAccumulator
    other.reports.addAll(reports)
    other
  }

  override def reset(): Unit = reports.clear()

  override def add(report: String): Unit = reports.add(report)

  override def merge(other: AccumulatorV2[String, ju.List[String]]): Unit = reports.addAll(other.value)

  override def value: ju.List[String] = new ju.ArrayList[String](reports)

  /** Takes what has arrived so far. For the driver. */
  def drain(): Seq[String] = {
    val taken = ArrayBuffer.empty[String]
    var report = reports.poll()
    while (report != null) {
      taken += report
      report = reports.poll()
    }
    taken.toSeq
  }
}

private[source] object ReportAccumulator {

  /** Without a name: the reports are for the planner, not for the user interface. */
  def registered(context: SparkContext): ReportAccumulator = {
    val accumulator = new ReportAccumulator
    context.register(accumulator)
    accumulator
  }
}
