package io.sparkkinesis.source

import scala.collection.mutable

import org.apache.spark.SparkEnv

/**
 * Which executor reads which shard: the one that read it before, where its iterator or its
 * subscription still is, as long as that executor lives and has no more than its share. Only a
 * hint, as all preferred locations are.
 */
private[source] final class Placement {
  private var homes = Map.empty[String, String]

  /** A location for each key, in their order; none without executors. */
  def of(keys: Seq[String], executors: Set[String]): Seq[Option[String]] = synchronized {
    val load = mutable.Map(executors.toSeq.map(_ -> 0): _*)
    val placed = mutable.Map.empty[String, String]
    def place(key: String, home: String): Unit = {
      placed(key) = home
      load(home) += 1
    }
    if (executors.nonEmpty) {
      val share = (keys.size + executors.size - 1) / executors.size
      for (key <- keys; home <- homes.get(key) if load.get(home).exists(_ < share)) place(key, home)
      for (key <- keys if !placed.contains(key)) place(key, load.minBy { case (home, shards) => (shards, home) }._1)
    }
    homes = placed.toMap
    keys.map(homes.get)
  }
}

private[source] object Placement {

  /**
   * The executors as preferred locations name them. Empty before the first one has registered, and
   * where the driver is the executor.
   */
  def executors(): Set[String] =
    Option(SparkEnv.get).toSeq
      .flatMap(_.blockManager.master.getMemoryStatus.keysIterator)
      .filterNot(_.isDriver)
      .map(manager => s"executor_${manager.host}_${manager.executorId}")
      .toSet
}
