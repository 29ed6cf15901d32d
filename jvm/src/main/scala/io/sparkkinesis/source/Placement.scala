package io.sparkkinesis.source

import java.{util => ju}

import scala.collection.mutable
import scala.util.control.NonFatal

import org.apache.spark.SparkEnv
import org.apache.spark.storage.BlockManagerId
import org.slf4j.LoggerFactory

/**
 * Which executor reads which shard: the one that read it before, where its iterator or its
 * subscription still is, as long as that executor lives and has no more than its share of all
 * shards, those that have no task in this batch included. Only a hint, as all preferred locations
 * are.
 */
private[source] final class Placement {
  // Those that had no task for the longest time first.
  private val homes = new ju.LinkedHashMap[String, String]

  /** A location for each key, in their order; none without executors. */
  def of(keys: Seq[String], executors: Set[String]): Seq[Option[String]] = synchronized {
    // Without executors, or where they couldn't be listed just now, the homes stay what they were.
    if (executors.nonEmpty) homes.values.removeIf((home: String) => !executors.contains(home))
    val load = mutable.Map(executors.toSeq.map(_ -> 0): _*)
    val placed = mutable.Map.empty[String, String]
    def place(key: String, home: String): Unit = {
      placed(key) = home
      load(home) += 1
    }
    if (executors.nonEmpty) {
      val inBatch = keys.toSet
      homes.forEach((key: String, home: String) => if (!inBatch.contains(key)) load(home) += 1)
      val share = (keys.size + load.values.sum + executors.size - 1) / executors.size
      for (key <- keys; home <- Option(homes.get(key)) if load(home) < share) place(key, home)
      for (key <- keys if !placed.contains(key)) place(key, load.minBy { case (home, shards) => (shards, home) }._1)
    }
    if (executors.nonEmpty) for (key <- keys) {
      homes.remove(key)
      homes.put(key, placed(key))
    }
    val longest = homes.keySet.iterator
    while (homes.size > keys.size + Placement.Remembered) {
      longest.next()
      longest.remove()
    }
    keys.map(placed.get)
  }
}

private[source] object Placement {

  /** Shards without a task, of which it is known where they were read. */
  private val Remembered = 20000

  private val log = LoggerFactory.getLogger(classOf[Placement])

  /**
   * The executors as preferred locations name them. Empty before the first one has registered, and
   * where the driver is the executor.
   */
  def executors(): Set[String] =
    executors(Option(SparkEnv.get).toSeq.flatMap(_.blockManager.master.getMemoryStatus.keysIterator))

  /** The same of these; none where Spark can't tell them just now, since no query is to fail for want of a hint. */
  def executors(managers: => Seq[BlockManagerId]): Set[String] =
    try {
      managers
        .filterNot(_.isDriver)
        .map(manager => s"executor_${manager.host}_${manager.executorId}")
        .toSet
    } catch {
      case NonFatal(e) =>
        log.warn("the executors could not be listed: the shards of this batch are read by whichever is free", e)
        Set.empty
    }
}
