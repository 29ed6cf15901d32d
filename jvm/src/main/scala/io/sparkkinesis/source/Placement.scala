package io.sparkkinesis.source

import scala.collection.mutable
import scala.util.control.NonFatal

import org.apache.spark.SparkEnv
import org.apache.spark.storage.BlockManagerId
import org.slf4j.LoggerFactory

/**
 * Assigns shards to executors; a group of shards goes by its first shard. A shard stays on the executor that read it
 * last, which still has its iterator or subscription, as long as that executor lives. It moves away from an executor
 * that would have far more than its share of the batch, or more than its share both of the batch and of all shards,
 * including those without a task in this batch. Only a hint, like all preferred locations.
 */
private[source] final class Placement {
  private var homes = Map.empty[String, String]

  /** Forgets all shards but these. */
  def retain(shards: Set[String]): Unit = synchronized {
    homes = homes.filter { case (shard, _) => shards.contains(shard) }
  }

  /** A location for each shard of a batch, in the same order; None for all if there are no executors. */
  def of(shards: Seq[String], executors: Set[String]): Seq[Option[String]] = synchronized {
    // If there are no executors, or they can't be listed at the moment, keeps the homes.
    if (executors.isEmpty) shards.map(_ => None) else place(shards, executors)
  }

  private def place(shards: Seq[String], executors: Set[String]): Seq[Option[String]] = {
    homes = homes.filter { case (_, home) => executors.contains(home) }
    val inBatch, inAll = mutable.Map(executors.toSeq.map(_ -> 0): _*)
    val placed = mutable.Map.empty[String, String]
    def put(shard: String, home: String): Unit = {
      placed(shard) = home
      inBatch(home) += 1
      inAll(home) += 1
    }
    def share(count: Int): Int = (count + executors.size - 1) / executors.size
    (homes -- shards).values.foreach(home => inAll(home) += 1)
    val ofBatch = share(shards.size)
    val ofAll = share(shards.size + inAll.values.sum)
    val most = math.max(Placement.Few, 2 * ofBatch)
    def stays(home: String): Boolean =
      inBatch(home) < ofBatch || (inAll(home) < ofAll && inBatch(home) < most)
    for (shard <- shards; home <- homes.get(shard) if stays(home)) put(shard, home)
    for (shard <- shards if !placed.contains(shard)) {
      put(shard, executors.minBy(home => (inBatch(home), inAll(home), home)))
    }
    homes ++= placed
    shards.map(placed.get)
  }
}

private[source] object Placement {

  /** Number of tasks of a batch that one executor may always keep, since moving so few costs more than it gains. */
  private val Few = 4

  private val log = LoggerFactory.getLogger(classOf[Placement])

  /**
   * The executors, in the form of preferred locations. Empty before the first one has registered, and if the driver is
   * the executor.
   */
  def executors(): Set[String] =
    executors(Option(SparkEnv.get).toSeq.flatMap(_.blockManager.master.getMemoryStatus.keysIterator))

  /** The executors among `managers`. Empty if Spark can't list them: a missing hint must not fail a query. */
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
