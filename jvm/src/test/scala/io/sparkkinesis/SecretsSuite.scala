package io.sparkkinesis

import java.util.concurrent.ConcurrentLinkedQueue

import scala.collection.JavaConverters._
import scala.util.Try

import org.apache.spark.scheduler.{SparkListener, SparkListenerEvent}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart
import org.apache.spark.sql.streaming.Trigger
import org.scalatest.BeforeAndAfterAll
import org.scalatest.concurrent.Eventually
import org.scalatest.funsuite.AnyFunSuite
import org.scalatest.time.{Seconds, Span}

/** Plans and progress contain no secrets, since many people can read them. */
class SecretsSuite extends AnyFunSuite with BeforeAndAfterAll with Eventually {

  override implicit val patienceConfig: PatienceConfig = PatienceConfig(Span(30, Seconds))

  private var spark: SparkSession = _
  private val plans = new ConcurrentLinkedQueue[String]

  override def beforeAll(): Unit = {
    spark = SparkSession
      .builder()
      .master("local[1]")
      .config("spark.ui.enabled", "false")
      .config("spark.sql.shuffle.partitions", "1")
      .getOrCreate()
    spark.sparkContext.addSparkListener(new SparkListener {
      override def onOtherEvent(event: SparkListenerEvent): Unit = event match {
        case start: SparkListenerSQLExecutionStart => plans.add(start.toString)
        case _ => ()
      }
    })
  }

  override def afterAll(): Unit = if (spark != null) spark.stop()

  // Nothing listens on this port: plans that need no stream are shown, then the write fails.
  private val options = Map(
    "kinesis.streamName" -> "orders",
    "kinesis.region" -> "us-east-1",
    "kinesis.endpointUrl" -> "http://127.0.0.1:1",
    "kinesis.clientNumRetries" -> "0",
    "kinesis.awsAccessKeyId" -> "AKIAIOSFODNN7EXAMPLE",
    "kinesis.awsSecretKey" -> "wJalrXUtnFEMI/K7MDENG",
    "kinesis.sessionToken" -> "IQoJb3JpZ2luX2Vj")
  private val secrets = Seq("kinesis.awsSecretKey", "kinesis.sessionToken").map(options)

  private def assertClean(text: String): Unit =
    secrets.foreach(secret => assert(!text.contains(secret), s"a secret is shown in:\n$text"))

  /** The text of an exception and of all its causes. */
  private def said(error: Throwable): String =
    Iterator.iterate(error)(_.getCause).takeWhile(_ != null).mkString("\n")

  test("the plan of a streaming read") {
    val frame = spark.readStream.format("aws-kinesis").options(options).load()
    val plan = frame.queryExecution.toString
    assert(plan.contains("aws-kinesis"))
    assertClean(plan)
    assertClean(frame.queryExecution.logical.treeString(verbose = true))
  }

  test("an external id in plans of streams and batches") {
    val role = options ++ Map(
      "kinesis.stsRoleArn" -> "arn:aws:iam::123456789012:role/reader",
      "kinesis.stsSessionName" -> "session",
      "kinesis.StsExternalId" -> "between-us-only")
    Seq(
      spark.readStream.format("aws-kinesis").options(role).load(),
      spark.read.format("aws-kinesis").options(role).load())
      .foreach { frame =>
        val plans = Seq(frame.queryExecution.logical, frame.queryExecution.analyzed).map(_.treeString(verbose = true))
        // Spark shows a stream's options, and redacts this one.
        if (frame.isStreaming) assert(plans.exists(_.contains("role/reader")), plans)
        plans.foreach(plan => assert(!plan.contains("between-us-only"), plan))
      }
  }

  test("an external id in a plan of another session than the thread's") {
    val role = options ++ Map(
      "kinesis.stsRoleArn" -> "arn:aws:iam::123456789012:role/reader",
      "kinesis.stsSessionName" -> "session",
      "kinesis.stsExternalId" -> "between-us-only")
    SparkSession.setActiveSession(spark)
    val frame = spark.newSession().readStream.format("aws-kinesis").options(role).load()
    val shown = new java.io.ByteArrayOutputStream
    Console.withOut(shown)(frame.explain("extended"))
    val plan = shown.toString("UTF-8")
    assert(plan.contains("role/reader"), plan)
    assert(!plan.contains("between-us-only"), plan)
  }

  test("the plan of a batch write, and its failure") {
    plans.clear()
    val result = Try {
      spark
        .range(1)
        .selectExpr("cast(id as string) as data", "cast(id as string) as partitionKey")
        .write
        .format("aws-kinesis")
        .options(options)
        .mode("append")
        .save()
    }
    assert(result.isFailure)
    assertClean(said(result.failed.get))
    eventually(assert(plans.asScala.exists(_.contains("KinesisWrite[orders]"))))
    plans.asScala.foreach(assertClean)
  }

  test("the plan, the progress and the failure of a streaming write") {
    plans.clear()
    val query = spark.readStream
      .format("rate")
      .option("rowsPerSecond", 10)
      .load()
      .selectExpr("cast(value as string) as data", "cast(value as string) as partitionKey")
      .writeStream
      .format("aws-kinesis")
      .options(options)
      .option("checkpointLocation", java.nio.file.Files.createTempDirectory("secrets").toString)
      .trigger(Trigger.ProcessingTime(0))
      .start()
    try {
      eventually(assert(query.exception.isDefined))
      assertClean(said(query.exception.get))
      query.recentProgress.foreach(progress => assertClean(progress.json))
      assertClean(query.status.json)
      eventually(assert(plans.asScala.exists(_.contains("KinesisWrite[orders]"))))
      plans.asScala.foreach(assertClean)
    } finally query.stop()
  }
}
