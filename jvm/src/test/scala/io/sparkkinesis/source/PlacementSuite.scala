package io.sparkkinesis.source

import org.apache.spark.SparkException
import org.scalatest.funsuite.AnyFunSuite

class PlacementSuite extends AnyFunSuite {

  private val shards = (1 to 8).map(n => s"shard-$n")
  private val executors = Set("executor_a_1", "executor_b_2")

  private def counts(homes: Seq[Option[String]]) =
    homes.flatten.groupBy(identity).map { case (home, shards) => home -> shards.size }

  test("shards are spread evenly, and stay where they are") {
    val placement = new Placement
    val first = placement.of(shards, executors)
    assert(counts(first) == executors.map(_ -> 4).toMap)
    assert(placement.of(shards, executors) == first)
    // A split removes one shard and adds two.
    val split = shards.tail ++ Seq("shard-9", "shard-10")
    val second = placement.of(split, executors)
    assert(second.take(7) == first.tail)
    assert(counts(second).values.forall(count => count >= 4 && count <= 5))
  }

  test("the shards of an executor that is gone move, the others don't") {
    val placement = new Placement
    val first = placement.of(shards, executors)
    val second = placement.of(shards, Set("executor_b_2", "executor_c_3"))
    first.zip(second).foreach { case (before, after) =>
      if (before.contains("executor_b_2")) assert(after == before)
      else assert(after.contains("executor_c_3"))
    }
  }

  test("an executor that joins takes its share from the others") {
    val placement = new Placement
    placement.of(shards, Set("executor_a_1"))
    val shared = placement.of(shards, executors)
    assert(counts(shared) == executors.map(_ -> 4).toMap)
    assert(placement.of(shards, executors) == shared)
  }

  test("shards without a task in a batch have their executors after it, too, and count") {
    val placement = new Placement
    val first = placement.of(shards, executors).flatten
    val ofOne = shards.zip(first).collect { case (shard, "executor_a_1") => shard }
    assert(placement.of(ofOne.take(3), executors).flatten == Seq.fill(3)("executor_a_1"))
    assert(placement.of(Seq("shard-9", "shard-10"), executors).flatten.toSet == executors)
    assert(placement.of(shards, executors).flatten == first)
  }

  test("an executor that comes gets its share of a batch, however many shards had no task for long") {
    val placement = new Placement
    def generation(number: Int) = (0 until 100).map(n => s"shard-$number-$n")
    (0 until 6).foreach(number => placement.of(generation(number), executors))
    val places = counts(placement.of(generation(5), executors + "executor_c_3"))
    assert(places.size == 3 && places.values.max <= 34)
  }

  test("few of many shards are read by many executors, also after one was replaced") {
    val ten = (0 until 10).map(n => s"executor_h_$n").toSet
    val placement = new Placement
    val all = (0 until 1000).map(n => f"shard-$n%05d")
    // The shards of one executor.
    val active = all.grouped(20).map(_.head).toSeq
    placement.of(all, ten)
    assert(counts(placement.of(active, ten)).values.max <= 10)
    assert(placement.of(active, ten) == placement.of(active, ten))
    val replaced = ten - "executor_h_3" + "executor_i_1"
    val places = counts(placement.of(active, replaced))
    assert(places.keySet == replaced && places.values.max <= 10)
  }

  test("shards that are gone don't count") {
    val placement = new Placement
    placement.of(shards, Set("executor_a_1"))
    placement.retain(Set("shard-9"))
    assert(placement.of(Seq("shard-9"), executors) == Seq(Some("executor_a_1")))
  }

  test("without executors there is no place to prefer") {
    assert(new Placement().of(shards, Set.empty) == shards.map(_ => None))
  }

  test("executors that can't be listed for once fail nothing, and keep their shards") {
    val placement = new Placement
    val first = placement.of(shards.reverse, executors).reverse
    val unlisted = Placement.executors(throw new SparkException("no answer in time"))
    assert(placement.of(shards, unlisted) == shards.map(_ => None))
    assert(placement.of(shards, executors) == first)
  }

  test("an executor whose shards others read is busy, and gets none for a while") {
    var now = 0L
    val placement = new Placement(() => now)
    val two = shards.take(2)
    val Seq(Some(first), Some(second)) = placement.of(two, executors)
    assert(first != second)
    // The tasks of the first went to the second.
    two.foreach(placement.read(_, second))
    (1 to 3).foreach { _ =>
      assert(placement.of(two, executors) == Seq.fill(2)(Some(second)))
      two.foreach(placement.read(_, second))
    }
    now += 31L * 1000 * 1000 * 1000
    assert(placement.of(two, executors).toSet == Set(Some(first), Some(second)), "it has its share again")
  }

  test("a batch without places to prefer shows nothing of who is busy") {
    val placement = new Placement
    val two = shards.take(2)
    val Seq(_, Some(second)) = placement.of(two, executors)
    placement.of(two, Set.empty)
    two.foreach(placement.read(_, second))
    assert(placement.of(two, executors).flatten.toSet == executors)
  }

  test("an executor that read some of its shards isn't busy") {
    val placement = new Placement
    val places = placement.of(shards, executors).flatten
    val Seq(one, other) = places.distinct
    val of = shards.zip(places)
    val (moved, _) = of.find(_._2 == one).get
    of.foreach { case (shard, place) => placement.read(shard, if (shard == moved) other else place) }
    assert(placement.of(shards, executors).flatten.toSet == executors)
  }

  test("an executor is not left out if all are busy") {
    val placement = new Placement
    val first = placement.of(shards, executors).flatten
    val swapped = executors.toSeq.zip(executors.toSeq.reverse).toMap
    shards.zip(first).foreach { case (shard, place) => placement.read(shard, swapped(place)) }
    assert(counts(placement.of(shards, executors)) == executors.map(_ -> 4).toMap)
  }
}
