package io.sparkkinesis.source

import scala.collection.mutable
import scala.util.control.NonFatal

import org.apache.spark.SparkEnv
import org.apache.spark.storage.BlockManagerId
import org.slf4j.LoggerFactory

/**
 * Which executor reads which shard, or which group by its first shard: the one that read it before,
 * where its iterator or its subscription still is, as long as that executor lives. It moves from one
 * that would have far more than its share of the batch, and from one that has more than its share of
 * all shards, those without a task in this batch included, and of the batch too. Only a hint, as all
 * preferred locations are.
 */
private[source] final class Placement {
  private var homes = Map.empty[String, String]

  /** Forgets all shards but these. */
  def retain(shards: Set[String]): Unit = synchronized {
    homes = homes.filter { case (shard, _) => shards.contains(shard) }
  }

  /** A location for each shard of a batch, in their order; none without executors. */
  def of(shards: Seq[String], executors: Set[String]): Seq[Option[String]] = synchronized {
    // Without executors, or where they couldn't be listed just now, the homes stay what they were.
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

  /** So many tasks of a batch may be one executor's, however few there are for others: it costs more to move them. */
  private val Few = 4

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
