package io.sparkkinesis

import java.util.Locale
import java.util.concurrent.ConcurrentHashMap

import scala.collection.JavaConverters._

import io.sparkkinesis.bridge.{ClassCredentials, ConnectorOptions}
import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.util.CaseInsensitiveStringMap
import org.slf4j.LoggerFactory

/**
 * The `kinesis.*` options of one read or write, with keys as the user spelt them. The engine interprets them. Some are
 * secrets, so `toString` shows only the stream.
 */
private[sparkkinesis] final class KinesisOptions private (
    private val values: Map[String, String],
    private val others: Set[String])
    extends Serializable {
  import KinesisOptions._

  /** The stream's name, for plans and progress. If only rows name streams, the list of allowed streams. */
  def stream: String =
    get("kinesis.streamName")
      .orElse(get("kinesis.streamArn").map(arn => arn.substring(arn.lastIndexOf('/') + 1)))
      .orElse(get(AllowedStreams))
      .getOrElse("?")

  /** Whether the options name a stream. A sink doesn't need it if its rows name their streams. */
  def namesStream: Boolean = has("kinesis.streamName") || has("kinesis.streamArn")

  /** The type of the consumer, for plans and progress. */
  def consumerType: String =
    get("kinesis.consumerType").filter(_.equalsIgnoreCase(SubscribeToShard)) match {
      case Some(_) => SubscribeToShard
      case None => "GetRecords"
    }

  /** The options as JSON for the engine. Holds secrets. */
  def json: String = Json.write(values.asJava)

  /** These options and `more`, which replaces options of the same key. */
  def updated(more: KinesisOptions): KinesisOptions = {
    val replaced = more.keys
    val kept = values.filterNot { case (key, _) => replaced(key.toLowerCase(Locale.ROOT)) }
    new KinesisOptions(kept ++ more.values, others ++ more.others)
  }

  private def keys: Set[String] = values.keySet.map(_.toLowerCase(Locale.ROOT))

  /**
   * The options as JSON for the engine's check. It includes the keys of all other options, without their values, to
   * find options whose prefix `kinesis.` is missing.
   */
  private def jsonToCheck: String = Json.write((others.map(_ -> "").toMap ++ values).asJava)

  /** Checks the options and the credentials class that they name, and logs each warning once. */
  def check(kind: String): Unit = {
    val answer = answered(kind).fold(error => throw refusal(error), identity)
    get("kinesis.credentialProviderClass").foreach { name =>
      try ClassCredentials.check(name.trim, get("kinesis.credentialProviderParam").isDefined)
      catch {
        case e: KinesisConnectorException => throw refusal(e)
      }
    }
    Json.strings(answer, "warnings").foreach(warnOnce)
  }

  /** Logs a warning about these options, once in this process. */
  def warnOnce(warning: String): Unit =
    if (warned.add(s"$stream $warning")) log.warn(s"$stream: $warning")

  /** The schema of a read with these options. Options that no read accepts add no column. */
  def readSchema: StructType = {
    val answer = Seq(Source, BatchRead).view.flatMap(kind => answered(kind).toOption).headOption
    answer.toSeq.flatMap(Json.pairs(_, "extraColumns", "name", "type")).foldLeft(KinesisTable.ReadSchema) {
      case (schema, (name, sqlType)) => schema.add(name, sqlType)
    }
  }

  /**
   * Checks options when Spark asks for the schema, before it is known whether they belong to a stream, a batch read or
   * a write. Refuses only what is wrong in every case, and leaves the rest to [[check]].
   */
  def checkForReadOrWrite(): Unit = {
    val isWrite = values.keys.exists(isSinkOption)
    val write = answered(Sink)
    // An invalid value of a sink option is refused in every case. A read would ignore it, but the same options may
    // serve a write.
    write.left.toOption
      .filter(error => error.kind() == KinesisConnectorException.INVALID_OPTION)
      .filter(error => Option(error.context().get("option")).exists(isSinkOption))
      .foreach(error => throw refusal(error))
    for (readError <- failure(Source); batchError <- failure(BatchRead) if !isWrite) {
      // Options that pass as a write's are a read's nevertheless if they include read options, which a write ignores.
      val isRead = write.fold(_ => true, answer => Json.strings(answer, "otherSide").nonEmpty)
      if (isRead) throw refusal(if (isBatchRead) batchError else readError)
    }
  }

  /** Whether there is an ending position, which only a batch read has. */
  private def isBatchRead: Boolean = get("kinesis.endingPosition").isDefined

  private def failure(kind: String): Option[KinesisConnectorException] = answered(kind).left.toOption

  /** The engine's answer if the options are of this kind, or its error. */
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

  /** Option with the list of streams that rows of a write may name. */
  val AllowedStreams = "kinesis.sink.allowedStreams"

  private val log = LoggerFactory.getLogger(classOf[KinesisOptions])
  private val warned = ConcurrentHashMap.newKeySet[String]()

  /**
   * Keeps the `kinesis.*` options, and only the names of all others, which belong to Spark and may be secrets.
   * Refuses options whose value is null.
   */
  def apply(options: CaseInsensitiveStringMap): KinesisOptions = {
    // The user's spelling of a key makes messages clearer. A key given twice counts once, as in Spark.
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
   * Turns an error about options into an IllegalArgumentException, for which PySpark has an exception of its own. The
   * engine's exception is its cause. Returns other errors unchanged.
   */
  private[sparkkinesis] def refusal(error: KinesisConnectorException): RuntimeException = {
    import KinesisConnectorException.{INVALID_OPTION, NOT_SUPPORTED}
    val ofOption = error.kind() == NOT_SUPPORTED && error.context().containsKey("option")
    if (error.kind() == INVALID_OPTION || ofOption) new IllegalArgumentException(error.getMessage, error) else error
  }

  private def isSinkOption(key: String): Boolean = key.toLowerCase(Locale.ROOT).startsWith("kinesis.sink.")
}
