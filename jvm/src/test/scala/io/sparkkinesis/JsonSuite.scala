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

  test("a string in an object, or in the first of several") {
    assert(Json.firstString("""{"shard": "a"}""", "tasks", "shard") == "a")
    assert(Json.firstString("""{"shard": "a-2", "tasks": [{"shard": "a"}, {"shard": "b"}]}""", "tasks", "shard") == "a")
  }

  test("the names of an object's fields") {
    assert(Json.names("""{"shards": {"a": 1, "b": {"c": 2}}}""", "shards") == Set("a", "b"))
    assert(Json.names("{}", "shards").isEmpty)
  }
}
