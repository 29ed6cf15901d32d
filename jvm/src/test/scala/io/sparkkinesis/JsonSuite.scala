package io.sparkkinesis

import scala.collection.JavaConverters._

import org.scalatest.funsuite.AnyFunSuite

class JsonSuite extends AnyFunSuite {

  test("an object becomes strings, without its nulls") {
    val metrics = Json.stringMap("""{"records": 12, "lag": "3", "behind": null, "ok": true}""")
    assert(metrics.asScala == Map("records" -> "12", "lag" -> "3", "ok" -> "true"))
  }

  test("an array of strings in an object") {
    assert(Json.strings("""{"warnings": ["a", "b"]}""", "warnings") == Seq("a", "b"))
    assert(Json.strings("{}", "warnings").isEmpty)
  }
}
