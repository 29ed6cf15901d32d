package io.sparkkinesis.source

import java.util.concurrent.TimeUnit

import scala.collection.mutable
import scala.util.control.NonFatal

import io.sparkkinesis.Json
import org.apache.spark.SparkEnv
import org.apache.spark.storage.BlockManagerId
import org.slf4j.LoggerFactory

/**
 * Assigns shards to executors; a group of shards goes by its first shard. A shard stays on the executor that read it
 * last, which still has its iterator or subscription, as long as that executor lives. It moves away from an executor
 * that would have far more than its share of the batch, or more than its share both of the batch and of all shards,
 * including those without a task in this batch. Only a hint, like all preferred locations.
 *
 * For each task Spark waits some seconds (`spark.locality.wait`) until its executor is free. An executor whose shards
 * were all read by others is busy with something else, and gets no shards for a while.
 *
 * @param now a clock in nanoseconds
 */
private[source] final class Placement(now: () => Long = () => System.nanoTime()) {
  private var homes = Map.empty[String, String]

  /** The executors of the last batch's shards, and those that read them. */
  private var placed, readers = Map.empty[String, String]

  /** Until when an executor is taken to be busy. */
  private var busy = Map.empty[String, Long]

  /** Forgets all shards but these. */
  def retain(shards: Set[String]): Unit = synchronized {
    homes = homes.filter { case (shard, _) => shards.contains(shard) }
  }

  /** Takes note of the executor that read a shard of the last batch. */
  def read(shard: String, executor: String): Unit = synchronized {
    if (placed.contains(shard)) readers += shard -> executor
  }

  /** A location for each shard of a batch, in the same order; None for all if there are no executors. */
  def of(shards: Seq[String], executors: Set[String]): Seq[Option[String]] = synchronized {
    // If there are no executors, or they can't be listed at the moment, keeps the homes.
    if (executors.isEmpty) {
      placed = Map.empty
      readers = Map.empty
      shards.map(_ => None)
    } else {
      homes = homes.filter { case (_, home) => executors.contains(home) }
      learn(executors)
      val free = executors -- busy.keySet
      placed = place(shards, if (free.isEmpty) executors else free)
      shards.map(placed.get)
    }
  }

  /** Finds the busy executors by who read the last batch. */
  private def learn(executors: Set[String]): Unit = {
    val time = now()
    placed.groupBy(_._2).foreach { case (executor, shards) =>
      val others = shards.keys.flatMap(readers.get)
      if (others.nonEmpty && !others.exists(_ == executor)) busy += executor -> (time + Placement.BusyNanos)
    }
    busy = busy.filter { case (executor, until) => executors.contains(executor) && time - until < 0 }
    homes ++= readers.filter { case (_, executor) => executors.contains(executor) }
    readers = Map.empty
  }

  private def place(shards: Seq[String], executors: Set[String]): Map[String, String] = {
    val inBatch, inAll = mutable.Map(executors.toSeq.map(_ -> 0): _*)
    val placed = mutable.Map.empty[String, String]
    def put(shard: String, home: String): Unit = {
      placed(shard) = home
      inBatch(home) += 1
      inAll(home) += 1
    }
    def share(count: Int): Int = (count + executors.size - 1) / executors.size
    (homes -- shards).values.filter(executors.contains).foreach(home => inAll(home) += 1)
    val ofBatch = share(shards.size)
    val ofAll = share(shards.size + inAll.values.sum)
    val most = math.max(Placement.Few, 2 * ofBatch)
    def stays(home: String): Boolean =
      executors.contains(home) && (inBatch(home) < ofBatch || (inAll(home) < ofAll && inBatch(home) < most))
    for (shard <- shards; home <- homes.get(shard) if stays(home)) put(shard, home)
    for (shard <- shards if !placed.contains(shard)) {
      put(shard, executors.minBy(home => (inBatch(home), inAll(home), home)))
    }
    homes ++= placed
    placed.toMap
  }
}

private[source] object Placement {

  /** Number of tasks of a batch that one executor may always keep, since moving so few costs more than it gains. */
  private val Few = 4

  /** Time after which a busy executor gets shards again. */
  private val BusyNanos = TimeUnit.SECONDS.toNanos(30)

  private val log = LoggerFactory.getLogger(classOf[Placement])

  /** The shard by which a task, in the engine's format, is placed: its first one. */
  def firstShard(task: String): String = Json.firstString(task, "tasks", "shard")

  /** The executor of this process, as a preferred location. */
  def here(): String = location(SparkEnv.get.blockManager.blockManagerId)

  private def location(manager: BlockManagerId): String = s"executor_${manager.host}_${manager.executorId}"

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
        .map(location)
        .toSet
    } catch {
      case NonFatal(e) =>
        log.warn("the executors could not be listed: the shards of this batch are read by whichever is free", e)
        Set.empty
    }
}
