package io.sparkkinesis

import scala.collection.JavaConverters._

import org.apache.spark.SparkContext
import org.apache.spark.util.CollectionAccumulator

/**
 * Carries texts from tasks to the driver, with the tasks' results: shard readers' reports, and the rows that a sink
 * refused. All attempts at a shard's batch report the same end, so duplicates and lost ones do no harm.
 *
 * The texts travel in one of Spark's own accumulators. The driver reads results with the class loader that the
 * application began with, which lacks the connector if its JAR was added later (ADD JAR, Spark Connect's
 * addArtifact). Accumulators always use Java's serialisation, whatever `spark.serializer` is.
 */
private[sparkkinesis] object TaskTexts {

  /** A new accumulator, without a name so that Spark's UI doesn't show it. */
  def registered(context: SparkContext): CollectionAccumulator[String] = context.collectionAccumulator[String]

  /** Removes and returns the texts that have arrived so far. For the driver. */
  def drain(texts: CollectionAccumulator[String]): Seq[String] =
    // Spark merges results under the accumulator's own lock, so none can arrive between value and reset.
    texts.synchronized {
      val taken = texts.value.asScala.toList
      texts.reset()
      taken
    }
}
