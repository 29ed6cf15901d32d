package io.sparkkinesis

import scala.collection.JavaConverters._

import org.apache.spark.SparkContext
import org.apache.spark.util.CollectionAccumulator

/**
 * Brings texts of tasks to the driver with their results: the reports of shard readers, and the rows that a sink
 * refused. All attempts at a shard's batch report the same, so it doesn't matter which of their reports arrive, or how
 * often.
 *
 * They go in an accumulator of Spark's own. The driver reads results with the class loader that the application began
 * with, which doesn't know the connector where its JAR came later (ADD JAR, Spark Connect's addArtifact). And
 * accumulators are written by Java's serialisation whatever `spark.serializer` is.
 */
private[sparkkinesis] object TaskTexts {

  /** Without a name: the texts are for the connector, not for the user interface. */
  def registered(context: SparkContext): CollectionAccumulator[String] = context.collectionAccumulator[String]

  /** Takes what has arrived so far. For the driver. */
  def drain(texts: CollectionAccumulator[String]): Seq[String] =
    // Its own lock, under which results are merged into it: none may come between the two.
    texts.synchronized {
      val taken = texts.value.asScala.toList
      texts.reset()
      taken
    }
}
