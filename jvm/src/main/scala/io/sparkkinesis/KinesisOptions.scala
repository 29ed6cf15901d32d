package io.sparkkinesis

import java.util.Locale
import java.util.concurrent.ConcurrentHashMap

import scala.collection.JavaConverters._
import scala.util.{Failure, Try}

import io.sparkkinesis.bridge.ConnectorOptions
import org.apache.spark.sql.util.CaseInsensitiveStringMap
import org.slf4j.LoggerFactory

/**
 * The `kinesis.*` options of one read or write, as the user spelt them. What they mean is the
 * engine's business. Some are secrets, so `toString` shows none.
 */
private[sparkkinesis] final class KinesisOptions private (values: Map[String, String])
    extends Serializable {
  import KinesisOptions._

  /** The stream's name, for plans and progress. */
  def stream: String =
    get("kinesis.streamName")
      .orElse(get("kinesis.streamArn").map(arn => arn.substring(arn.lastIndexOf('/') + 1)))
      .getOrElse("?")

  /** How records are read, for plans and progress. */
  def consumerType: String =
    get("kinesis.consumerType").filter(_.equalsIgnoreCase("SubscribeToShard")) match {
      case Some(_) => "SubscribeToShard"
      case None => "GetRecords"
    }

  /** The options as the engine takes them. Holds secrets. */
  def json: String = Json.write(values.asJava)

  /** Lets the engine check the options, and logs each of its warnings once. */
  def check(kind: String): Unit =
    Json.strings(ConnectorOptions.check(kind, json), "warnings").foreach { warning =>
      if (warned.add(s"$kind $stream $warning")) log.warn(s"$stream: $warning")
    }

  /**
   * Checks options of which it isn't known yet whether they are a read's or a write's. Spark
   * doesn't tell when it asks for the schema; what is wrong for both is wrong in any case.
   */
  def checkForReadOrWrite(): Unit = {
    val sinkOnly = values.keys.exists(_.toLowerCase(Locale.ROOT).startsWith("kinesis.sink."))
    val kinds = if (sinkOnly) Seq(Sink, Source) else Seq(Source, Sink)
    val results = kinds.map(kind => Try(ConnectorOptions.check(kind, json)))
    results match {
      case Seq(Failure(error), Failure(_)) => throw error
      case _ => ()
    }
  }

  private def get(key: String): Option[String] =
    values.collectFirst { case (k, v) if k.equalsIgnoreCase(key) => v }

  override def toString: String = s"KinesisOptions($stream)"
}

private[sparkkinesis] object KinesisOptions {
  val Source = "source"
  val Sink = "sink"

  private val log = LoggerFactory.getLogger(classOf[KinesisOptions])
  private val warned = ConcurrentHashMap.newKeySet[String]()

  /** Keeps the `kinesis.*` options only: others belong to Spark, and some of those are secrets too. */
  def apply(options: CaseInsensitiveStringMap): KinesisOptions = {
    // The key as it was spelt makes better messages; a key given twice counts once, as Spark reads it.
    val spelling = options.asCaseSensitiveMap().keySet().asScala.map(k => k.toLowerCase(Locale.ROOT) -> k).toMap
    val values = spelling.collect {
      case (lower, key) if lower.startsWith("kinesis.") => key -> options.get(lower)
    }
    new KinesisOptions(values)
  }
}
