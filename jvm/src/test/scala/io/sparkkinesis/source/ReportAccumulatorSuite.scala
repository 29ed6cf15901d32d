package io.sparkkinesis.source

import scala.collection.JavaConverters._

import io.sparkkinesis.Serialization
import org.apache.hadoop.conf.Configuration
import org.scalatest.funsuite.AnyFunSuite

class ReportAccumulatorSuite extends AnyFunSuite {

  test("reports of several tasks are merged, and drained once") {
    val driver = new ReportAccumulator
    val tasks = Seq("a", "b").map { report =>
      val task = driver.copyAndReset().asInstanceOf[ReportAccumulator]
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
    val one = new ReportAccumulator
    one.add("a")
    val two = one.copy()
    two.add("b")
    assert(one.value.asScala == Seq("a"))
    assert(two.value.asScala == Seq("a", "b"))
    two.reset()
    assert(two.isZero && !one.isZero)
  }

  test("the Hadoop configuration arrives with its values") {
    val conf = new Configuration(false)
    conf.set("fs.defaultFS", "hdfs://cluster")
    val arrived = Serialization.roundTrip(new HadoopConfBroadcast(conf))
    assert(arrived.value.get("fs.defaultFS") == "hdfs://cluster")
  }
}
