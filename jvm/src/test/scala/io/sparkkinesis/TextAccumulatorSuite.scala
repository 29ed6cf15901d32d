package io.sparkkinesis

import scala.collection.JavaConverters._

import org.scalatest.funsuite.AnyFunSuite

class TextAccumulatorSuite extends AnyFunSuite {

  test("reports of several tasks are merged, and drained once") {
    val driver = new TextAccumulator
    val tasks = Seq("a", "b").map { report =>
      val task = driver.copyAndReset().asInstanceOf[TextAccumulator]
      assert(task.isZero)
      task.add(report)
      task
    }
    tasks.foreach(driver.merge)
    assert(!driver.isZero)
    assert(driver.value.asScala.toSet == Set("a", "b"))
    assert(driver.drain().toSet == Set("a", "b"))
    assert(driver.isZero && driver.drain().isEmpty)
  }

  test("a copy is on its own") {
    val one = new TextAccumulator
    one.add("a")
    val two = one.copy()
    two.add("b")
    assert(one.value.asScala == Seq("a"))
    assert(two.value.asScala == Seq("a", "b"))
    two.reset()
    assert(two.isZero && !one.isZero)
  }
}
