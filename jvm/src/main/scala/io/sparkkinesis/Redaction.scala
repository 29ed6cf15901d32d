package io.sparkkinesis

import scala.util.Try

import org.apache.spark.sql.SparkSession

/** What Spark shows of options, in plans. It leaves out the values of keys that look like secrets to it. */
private[sparkkinesis] object Redaction {
  private val Setting = "spark.sql.redaction.options.regex"

  /** Options whose keys don't look like it, though not everybody is to know their values. */
  private val Unnoticed =
    Seq(
      "kinesis.stsExternalId",
      "kinesis.credentialProviderParam",
      "kinesis.proxyUsername",
      "kinesis.sink.proxyUsername")

  /** Has Spark leave out such values in the session that is active in this thread, too, if there are some. */
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
