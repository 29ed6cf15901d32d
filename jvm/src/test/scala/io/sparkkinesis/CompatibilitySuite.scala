package io.sparkkinesis

import org.scalatest.funsuite.AnyFunSuite

class CompatibilitySuite extends AnyFunSuite {

  private def problem(line: String, scala: String, spark: String): String =
    Compatibility.problem(line, scala, spark, "1.2.3")

  test("a JAR fits the Spark of its Scala line") {
    assert(problem("2.12", "2.12.18", "3.5.9") == null)
    assert(problem("2.13", "2.13.17", "4.3.0") == null)
    assert(problem("2.13", "2.13.17", "5.0.0-SNAPSHOT") == null)
    assert(problem("2.12", "2.12.15", "3.5.6-amzn-1") == null)
    Compatibility.check()
  }

  test("another Scala line's JAR names both versions and the right JAR") {
    val on4 = problem("2.12", "2.13.17", "4.3.0")
    assert(on4.contains("made for Scala 2.12") && on4.contains("Spark 4.3.0 with Scala 2.13.17"))
    assert(on4.contains("use spark-kinesis-native_2.13-1.2.3.jar"))
    val on3 = problem("2.13", "2.12.18", "3.5.9")
    assert(on3.contains("made for Scala 2.13") && on3.contains("use spark-kinesis-native_2.12-1.2.3.jar"))
    assert(problem("2.13", "3.3.0", "6.0.0").contains("JARs for Scala 2.12 (Spark 3.5) and 2.13 (Spark 4) only"))
  }

  test("an older Spark is named") {
    Seq("3.4.1", "3.0.3", "2.4.8").foreach { spark =>
      val message = problem("2.12", "2.12.18", spark)
      assert(message.contains(s"this is Spark $spark") && message.contains("needs Spark 3.5 or newer"))
    }
    assert(Compatibility.sparkVersion() == org.apache.spark.SPARK_VERSION)
  }
}
