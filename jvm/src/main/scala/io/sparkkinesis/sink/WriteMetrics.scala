package io.sparkkinesis.sink

import java.{util => ju}

import io.sparkkinesis.{Json, KinesisMax, KinesisSum, TaskMetrics}
import io.sparkkinesis.bridge.SinkDriver
import org.apache.spark.sql.connector.metric.{CustomMetric, CustomTaskMetric}

/**
 * A write's metrics in the SQL tab of Spark's UI, over all its tasks. Spark creates the classes by name, so they are
 * public and have a constructor without arguments.
 */
private[sink] object WriteMetrics {

  def all: Array[CustomMetric] =
    Array(
      new KinesisRowsWritten,
      new KinesisRecordsPut,
      new KinesisBytesPut,
      new KinesisPutRequests,
      new KinesisPutRetries,
      new KinesisPutThrottles,
      new KinesisPutWait,
      new KinesisPutBuffer,
      new KinesisPutMedian,
      new KinesisPutSlowest)

  private val names = all.map(_.name()).toSet

  /** A writer's metrics from the engine's JSON. Unknown values are absent. */
  def ofTask(json: String): Array[CustomTaskMetric] = TaskMetrics.of(json, names)
}

/** Rows that Kinesis accepted; the rows of an aggregate count one by one. */
class KinesisRowsWritten extends KinesisSum("records", "Kinesis rows accepted")

/** Kinesis records accepted; an aggregate counts as one. */
class KinesisRecordsPut extends KinesisSum("kinesisRecords", "Kinesis records accepted")

/** Bytes of data accepted. */
class KinesisBytesPut extends KinesisSum("bytes", "Kinesis bytes of data accepted")

/** PutRecords requests, including repeated ones. */
class KinesisPutRequests extends KinesisSum("requests", "Kinesis put requests")

/** Records put again, and requests sent again as a whole. */
class KinesisPutRetries extends KinesisSum("retries", "Kinesis records put again")

/** Records and requests that the service throttled. */
class KinesisPutThrottles extends KinesisSum("throttles", "Kinesis records throttled")

/** Time that tasks waited for the stream, in milliseconds. */
class KinesisPutWait extends KinesisSum("waitMillis", "Kinesis milliseconds waited for the stream")

/** Peak of a task's bytes that were handed over and not yet accepted. */
class KinesisPutBuffer extends KinesisMax("maxBufferedBytes", "Kinesis bytes buffered (max)")

/** Median duration of a task's put requests, in milliseconds. */
class KinesisPutMedian extends KinesisMax("putMillisP50", "Kinesis put milliseconds, median (max of tasks)")

/** 99th percentile of the durations of a task's put requests, in milliseconds. */
class KinesisPutSlowest extends KinesisMax("putMillisP99", "Kinesis put milliseconds, p99 (max of tasks)")

/** Metrics of a streaming query's writes on the driver, for its progress. */
private[sparkkinesis] final class WrittenMetrics {
  private var last: Option[Seq[String]] = None

  /** Stores the task metrics of a batch that ended. */
  def batch(reports: Seq[String]): Unit = synchronized { last = Some(reports) }

  /** Metrics of the batch that ended since the last call; all zero if none did, empty before the first batch. */
  def ofLastBatch(): ju.Map[String, String] = synchronized {
    last.fold(ju.Collections.emptyMap[String, String]()) { reports =>
      last = Some(Nil)
      Json.stringMap(SinkDriver.metrics(reports.toArray))
    }
  }
}
