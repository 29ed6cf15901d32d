package io.sparkkinesis

import scala.util.Try

import org.apache.spark.sql.SparkSession

/** Hides sensitive options in Spark's plans. Spark itself only redacts the values of keys that look like secrets. */
private[sparkkinesis] object Redaction {
  private val Setting = "spark.sql.redaction.options.regex"

  /** Options with sensitive values whose keys Spark doesn't recognise as secrets. */
  private val Unnoticed =
    Seq(
      "kinesis.stsExternalId",
      "kinesis.credentialProviderParam",
      "kinesis.proxyUsername",
      "kinesis.sink.proxyUsername")

  /** If there are such options, extends the redaction setting of this thread's active session to them. */
  def extend(options: KinesisOptions): Unit =
    for {
      key <- Unnoticed if options.has(key)
      spark <- SparkSession.getActiveSession
    } {
      val known = spark.conf.getOption(Setting).filter(_.nonEmpty)
      if (!known.exists(regex => Try(regex.r.findFirstIn(key)).toOption.flatten.isDefined)) {
        val name = key.split('.').last
        spark.conf.set(Setting, (known.toSeq :+ s"(?i)$name").mkString("|"))
      }
    }
}
