package io.sparkkinesis

import scala.util.Try

import org.apache.spark.sql.SparkSession

/** What Spark shows of options, in plans. It leaves out the values of keys that look like secrets to it. */
private[sparkkinesis] object Redaction {
  private val Setting = "spark.sql.redaction.options.regex"

  /** An option whose key doesn't look like it, though not everybody is to know its value. */
  private val Unnoticed = "kinesis.stsExternalId"

  /** Has Spark leave out such a value in the session that is active in this thread, too, if there is one. */
  def extend(options: KinesisOptions): Unit =
    if (options.has(Unnoticed)) {
      SparkSession.getActiveSession.foreach { spark =>
        val known = spark.conf.getOption(Setting).filter(_.nonEmpty)
        if (!known.exists(regex => Try(regex.r.findFirstIn(Unnoticed)).toOption.flatten.isDefined)) {
          spark.conf.set(Setting, (known.toSeq :+ "(?i)stsExternalId").mkString("|"))
        }
      }
    }
}
