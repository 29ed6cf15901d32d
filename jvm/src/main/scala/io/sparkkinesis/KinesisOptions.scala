package io.sparkkinesis

import java.util.Locale
import java.util.concurrent.ConcurrentHashMap

import scala.collection.JavaConverters._

import io.sparkkinesis.bridge.{ClassCredentials, ConnectorOptions}
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.util.CaseInsensitiveStringMap
import org.slf4j.LoggerFactory

/**
 * The `kinesis.*` options of one read or write, as the user spelt them. What they mean is the
 * engine's business. Some are secrets, so `toString` shows none.
 */
private[sparkkinesis] final class KinesisOptions private (
    private val values: Map[String, String],
    private val others: Set[String])
    extends Serializable {
  import KinesisOptions._

  /** The stream's name, for plans and progress; where only rows name streams, those that they may name. */
  def stream: String =
    get("kinesis.streamName")
      .orElse(get("kinesis.streamArn").map(arn => arn.substring(arn.lastIndexOf('/') + 1)))
      .orElse(get(AllowedStreams))
      .getOrElse("?")

  /** Whether the stream is given. A sink may do without, where its rows name theirs. */
  def namesStream: Boolean = has("kinesis.streamName") || has("kinesis.streamArn")

  /** How records are read, for plans and progress. */
  def consumerType: String =
    get("kinesis.consumerType").filter(_.equalsIgnoreCase(SubscribeToShard)) match {
      case Some(_) => SubscribeToShard
      case None => "GetRecords"
    }

  /** The options as the engine takes them. Holds secrets. */
  def json: String = Json.write(values.asJava)

  /** These options, and in the place of some of them others. */
  def updated(more: KinesisOptions): KinesisOptions = {
    val replaced = more.keys
    val kept = values.filterNot { case (key, _) => replaced(key.toLowerCase(Locale.ROOT)) }
    new KinesisOptions(kept ++ more.values, others ++ more.others)
  }

  private def keys: Set[String] = values.keySet.map(_.toLowerCase(Locale.ROOT))

  /**
   * The options as the engine checks them: with the names of the others too, since one of ours may have been given
   * without its prefix. Their values are nobody's business.
   */
  private def jsonToCheck: String = Json.write((others.map(_ -> "").toMap ++ values).asJava)

  /** Lets the engine check the options, looks for the class that they name, and logs each of the warnings once. */
  def check(kind: String): Unit = {
    val answer = answered(kind).fold(error => throw refusal(error), identity)
    get("kinesis.credentialProviderClass").foreach { name =>
      try ClassCredentials.check(name.trim, get("kinesis.credentialProviderParam").isDefined)
      catch {
        case e: KinesisConnectorException => throw refusal(e)
      }
    }
    Json.strings(answer, "warnings").foreach { warning =>
      if (warned.add(s"$kind $stream $warning")) log.warn(s"$stream: $warning")
    }
  }

  /** What a read with these options delivers. Options that aren't those of a read add no column. */
  def readSchema: StructType = {
    val answer = Seq(Source, BatchRead).view.flatMap(kind => answered(kind).toOption).headOption
    answer.toSeq.flatMap(Json.pairs(_, "extraColumns", "name", "type")).foldLeft(KinesisTable.ReadSchema) {
      case (schema, (name, sqlType)) => schema.add(name, sqlType)
    }
  }

  /**
   * Checks options of which it isn't known yet whether they are a stream's, a batch read's or a
   * write's: Spark doesn't tell when it asks for the schema. Refuses only what is wrong in every
   * case, and leaves the rest to [[check]].
   */
  def checkForReadOrWrite(): Unit = {
    val isWrite = values.keys.exists(isSinkOption)
    val write = answered(Sink)
    // A value that no sink takes is wrong in a read, too, which takes no notice of it: the options are to be a write's
    // as well.
    write.left.toOption
      .filter(error => error.kind() == KinesisConnectorException.INVALID_OPTION)
      .filter(error => Option(error.context().get("option")).exists(isSinkOption))
      .foreach(error => throw refusal(error))
    for (readError <- failure(Source); batchError <- failure(BatchRead) if !isWrite) {
      // Fit for a write, which takes no notice of a read's options. Where there are such and none of a write, it is none.
      val isRead = write.fold(_ => true, answer => Json.strings(answer, "otherSide").nonEmpty)
      if (isRead) throw refusal(if (isBatchRead) batchError else readError)
    }
  }

  /** Only a batch read has an end. */
  private def isBatchRead: Boolean = get("kinesis.endingPosition").isDefined

  private def failure(kind: String): Option[KinesisConnectorException] = answered(kind).left.toOption

  /** The engine's answer to options of this kind. */
  private def answered(kind: String): Either[KinesisConnectorException, String] =
    try Right(ConnectorOptions.check(kind, jsonToCheck))
    catch {
      case e: KinesisConnectorException => Left(e)
    }

  /** Whether the option is given. */
  def has(key: String): Boolean = get(key).isDefined

  private def get(key: String): Option[String] =
    values.collectFirst { case (k, v) if k.equalsIgnoreCase(key) => v }

  override def toString: String = s"KinesisOptions($stream)"
}

private[sparkkinesis] object KinesisOptions {
  val Source = "source"
  val BatchRead = "batchRead"
  val Sink = "sink"

  /** The consumer type of enhanced fan-out. */
  val SubscribeToShard = "SubscribeToShard"

  /** The streams that rows of a write may name. */
  val AllowedStreams = "kinesis.sink.allowedStreams"

  private val log = LoggerFactory.getLogger(classOf[KinesisOptions])
  private val warned = ConcurrentHashMap.newKeySet[String]()

  /**
   * Keeps the `kinesis.*` options only: of the others, which belong to Spark and may be secrets too, the names.
   * Refuses those without a value.
   */
  def apply(options: CaseInsensitiveStringMap): KinesisOptions = {
    // The key as it was spelt makes better messages; a key given twice counts once, as Spark reads it.
    val spelling = options.asCaseSensitiveMap().keySet().asScala.map(k => k.toLowerCase(Locale.ROOT) -> k).toMap
    val (ours, others) = spelling.partition { case (lower, _) => lower.startsWith("kinesis.") }
    val values = ours.map { case (lower, key) => key -> options.get(lower) }
    values.foreach { case (key, value) =>
      if (value == null) {
        throw new IllegalArgumentException(s"$key is null (None in Python): give a value, or leave the option out")
      }
    }
    new KinesisOptions(values, others.values.toSet)
  }

  /**
   * What is wrong with options is the caller's mistake, so it comes as such: PySpark makes an exception of its own of
   * an IllegalArgumentException. The engine's exception is its cause.
   */
  private[sparkkinesis] def refusal(error: KinesisConnectorException): RuntimeException = {
    import KinesisConnectorException.{INVALID_OPTION, NOT_SUPPORTED}
    val ofOption = error.kind() == NOT_SUPPORTED && error.context().containsKey("option")
    if (error.kind() == INVALID_OPTION || ofOption) new IllegalArgumentException(error.getMessage, error) else error
  }

  private def isSinkOption(key: String): Boolean = key.toLowerCase(Locale.ROOT).startsWith("kinesis.sink.")
}
