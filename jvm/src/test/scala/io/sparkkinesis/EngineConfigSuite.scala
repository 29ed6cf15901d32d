package io.sparkkinesis

import java.{util => ju}

import scala.collection.JavaConverters._

import org.apache.spark.sql.util.CaseInsensitiveStringMap
import org.scalatest.funsuite.AnyFunSuite

class EngineConfigSuite extends AnyFunSuite {

  private val secret = "wJalrXUtnFEMI"
  private val options = KinesisOptions(
    new CaseInsensitiveStringMap(
      Map(
        "kinesis.streamName" -> "orders",
        "KINESIS.AwsSecretKey" -> secret,
        "kinesis.consumerType" -> "subscribetoshard",
        "someoneElses.password" -> "hidden").asJava))

  test("the engine gets the kinesis options as they were spelt, and no others") {
    val json = Json.read(EngineConfig.source(options, Seq("data", "shardId"), "file:/tmp/checkpoint/sources/0", 7).json)
    val expected = Map[String, Any](
      "version" -> 1,
      "options" -> Map(
        "kinesis.streamName" -> "orders",
        "KINESIS.AwsSecretKey" -> secret,
        "kinesis.consumerType" -> "subscribetoshard").asJava,
      "columns" -> Seq("data", "shardId").asJava,
      "checkpointLocation" -> "file:/tmp/checkpoint/sources/0",
      "minBatchesToRetain" -> 7).asJava
    assert(json.asInstanceOf[ju.Map[_, _]] == expected)
  }

  test("a batch read may ask for no column") {
    val json = Json.read(EngineConfig.batchRead(options, Nil).json).asInstanceOf[ju.Map[_, _]]
    assert(json.keySet().asScala == Set("version", "options", "columns"))
    assert(json.get("columns").asInstanceOf[ju.List[_]].isEmpty)
  }

  test("a sink's configuration has no checkpoint") {
    val json = Json.read(EngineConfig.sink(options).json).asInstanceOf[ju.Map[_, _]]
    assert(json.keySet().asScala == Set("version", "options"))
  }

  test("secrets stay out of toString, also after serialisation") {
    val config = EngineConfig.sink(options)
    val arrived = Serialization.roundTrip(config)
    assert(arrived.json == config.json)
    assert(arrived.json.contains(secret))
    Seq(config, arrived, options, Serialization.roundTrip(options)).foreach(o => assert(!o.toString.contains(secret)))
  }

  test("plans name the stream and the consumer") {
    assert(options.stream == "orders")
    assert(options.consumerType == "SubscribeToShard")
    assert(options.toString == "KinesisOptions(orders)")
  }
}
