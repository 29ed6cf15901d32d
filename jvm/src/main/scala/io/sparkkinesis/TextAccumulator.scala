package io.sparkkinesis

import java.{util => ju}
import java.util.concurrent.ConcurrentLinkedQueue

import scala.collection.mutable.ArrayBuffer

import org.apache.spark.SparkContext
import org.apache.spark.util.AccumulatorV2

/**
 * Brings texts of tasks to the driver with their results: the reports of shard readers, and the rows that a sink
 * refused. Accumulators are written by Java's serialisation whatever `spark.serializer` is. All attempts at a shard's
 * batch report the same, so it doesn't matter which of their reports arrive, or how often.
 */
private[sparkkinesis] class TextAccumulator extends AccumulatorV2[String, ju.List[String]] {

  // Concurrent, because an executor's heartbeat serialises it while the task adds to it.
  private val texts = new ConcurrentLinkedQueue[String]

  // Spark asks this while it deserialises the accumulator, before the field is there.
  override def isZero: Boolean = texts == null || texts.isEmpty

  override def copy(): TextAccumulator = {
    val other = new TextAccumulator
    other.texts.addAll(texts)
    other
  }

  override def reset(): Unit = texts.clear()

  override def add(text: String): Unit = texts.add(text)

  override def merge(other: AccumulatorV2[String, ju.List[String]]): Unit = texts.addAll(other.value)

  override def value: ju.List[String] = new ju.ArrayList[String](texts)

  /** Takes what has arrived so far. For the driver. */
  def drain(): Seq[String] = {
    val taken = ArrayBuffer.empty[String]
    var text = texts.poll()
    while (text != null) {
      taken += text
      text = texts.poll()
    }
    taken.toSeq
  }
}

private[sparkkinesis] object TextAccumulator {

  /** Without a name: the texts are for the connector, not for the user interface. */
  def registered(context: SparkContext): TextAccumulator = {
    val accumulator = new TextAccumulator
    context.register(accumulator)
    accumulator
  }
}
