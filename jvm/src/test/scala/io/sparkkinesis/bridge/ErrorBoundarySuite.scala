package io.sparkkinesis.bridge

import java.io.{ByteArrayInputStream, ByteArrayOutputStream, ObjectInputStream, ObjectOutputStream}
import java.lang.reflect.Modifier

import scala.collection.JavaConverters._

import io.sparkkinesis.KinesisConnectorException

/** Errors and panics of native code, as Java sees them. */
class ErrorBoundarySuite extends BoundarySuite {

  test("every kind arrives with its number, its name and its context") {
    val numbers = classOf[KinesisConnectorException].getFields
      .filter(field => Modifier.isStatic(field.getModifiers) && field.getType == classOf[Int])
      .map(field => field.getName.replace("_", "").toLowerCase -> field.getInt(null))
    assert(numbers.map(_._2).sorted.toSeq === (1 to 23))
    numbers.foreach {
      case (name, number) =>
        val error = failure(BoundaryTests.fail(number))
        assert(error.kind() === number)
        assert(error.kindName().toLowerCase === name)
        assert(error.getMessage === "what was asked for [stream=s, shard=ü]")
        assert(error.context().asScala.toSeq === Seq("stream" -> "s", "shard" -> "ü"))
        assert(!error.retryable())
        assert(error.getCause === null)
    }
  }

  test("a success after a failure is a success") {
    failure(BoundaryTests.fail(1))
    BoundaryTests.fail(0)
  }

  test("a panic's formatted text and its place are kept") {
    val error = failure(BoundaryTests.panic("größe 42"))
    assert(error.kind() === KinesisConnectorException.INTERNAL)
    assert(error.getMessage.contains("formatted: größe 42"))
    assert(error.getMessage.contains("failures.rs:"))
  }

  test("a panic without a text is an error too") {
    val error = failure(BoundaryTests.panicWithoutText())
    assert(error.kind() === KinesisConnectorException.INTERNAL)
    assert(error.getMessage.contains("a panic without a text (at "))
  }

  test("panics on many threads keep their own texts") {
    val threads = (1 to 8).map { n =>
      val wrong = new java.util.concurrent.ConcurrentLinkedQueue[String]
      val thread = new Thread(() =>
        (1 to 5).foreach { _ =>
          val message = failure(BoundaryTests.panic(s"thread <$n>")).getMessage
          if (!message.contains(s"thread <$n>")) wrong.add(message)
        })
      thread.start()
      thread -> wrong
    }
    threads.foreach {
      case (thread, wrong) =>
        thread.join()
        assert(wrong.asScala.toSeq === Nil)
    }
  }

  test("a panic on a worker thread arrives with its text") {
    val planner = StandIn.planner(config(), NoFiles, null)
    try {
      val error = failure(planner.latestOffset("panic"))
      assert(error.kind() === KinesisConnectorException.INTERNAL)
      assert(error.getMessage.contains("formatted: on a worker (at "))
      assert(planner.latestOffset("7") === "7+1", "the planner goes on")
    } finally planner.close()
  }

  test("a retryable failure says so") {
    val reader = StandIn.reader(config(""""instead":"fail""""), null)
    try {
      val error = failure(reader.next())
      assert(error.kind() === KinesisConnectorException.CLAIM_CONFLICT)
      assert(error.retryable())
      assert(error.context().get("shard") === "shardId-000000000007")
    } finally reader.close()
  }

  test("null arguments are errors") {
    assert(failure(NativeBridge.checkOptions("source", null)).kind() === KinesisConnectorException.INVALID_ARGUMENT)
    assert(failure(NativeBridge.plannerOpen(null, NoFiles)).kind() === KinesisConnectorException.INVALID_ARGUMENT)
    assert(failure(NativeBridge.plannerOpen("{}", null)).kind() === KinesisConnectorException.INVALID_ARGUMENT)
    assert(failure(BoundaryTests.panic(null)).kind() === KinesisConnectorException.INVALID_ARGUMENT)
  }

  test("an exception survives its way from an executor to the driver") {
    val error = failure(BoundaryTests.fail(KinesisConnectorException.THROTTLED))
    val bytes = new ByteArrayOutputStream
    new ObjectOutputStream(bytes).writeObject(error)
    val copy = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray)).readObject()
      .asInstanceOf[KinesisConnectorException]
    assert(copy.kind() === error.kind())
    assert(copy.kindName() === error.kindName())
    assert(copy.context() === error.context())
    assert(copy.getMessage === error.getMessage)
  }

  test("options are checked without quoting secrets") {
    val answer = ConnectorOptions.check("source", """{"kinesis.streamName":"s","kinesis.region":"eu-west-1"}""")
    assert(answer.contains(""""streamName":"s""""))
    assert(failure(ConnectorOptions.check("source", "{}")).kind() === KinesisConnectorException.INVALID_OPTION)
    val malformed = failure(ConnectorOptions.check("sink", """{"kinesis.awsSecretKey":"hush"""))
    assert(malformed.kind() === KinesisConnectorException.INVALID_ARGUMENT)
    assert(!malformed.getMessage.contains("hush"))
  }
}
