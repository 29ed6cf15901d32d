package io.sparkkinesis.sink

import java.{util => ju}

import io.sparkkinesis.{Json, KinesisMax, KinesisSum, TaskMetrics}
import io.sparkkinesis.bridge.SinkDriver
import org.apache.spark.sql.connector.metric.{CustomMetric, CustomTaskMetric}

/**
 * What a write shows in the SQL tab of Spark's page, of all its tasks. Spark makes the classes by their names, hence
 * public ones with a constructor without arguments.
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

  /** A writer's metrics as the engine writes them. What isn't known is absent. */
  def ofTask(json: String): Array[CustomTaskMetric] = TaskMetrics.of(json, names)
}

/** Rows accepted; an aggregate's count one by one. */
class KinesisRowsWritten extends KinesisSum("records", "Kinesis rows accepted")

/** The Kinesis records that they were put as. */
class KinesisRecordsPut extends KinesisSum("kinesisRecords", "Kinesis records accepted")

/** Bytes of their data. */
class KinesisBytesPut extends KinesisSum("bytes", "Kinesis bytes of data accepted")

/** PutRecords requests, repeated ones too. */
class KinesisPutRequests extends KinesisSum("requests", "Kinesis put requests")

/** Records put again, and requests sent again as a whole. */
class KinesisPutRetries extends KinesisSum("retries", "Kinesis records put again")

/** Records and requests that the service throttled. */
class KinesisPutThrottles extends KinesisSum("throttles", "Kinesis records throttled")

/** How long tasks waited for the stream. */
class KinesisPutWait extends KinesisSum("waitMillis", "Kinesis milliseconds waited for the stream")

/** Most bytes that a task had handed over, and that were not yet accepted. */
class KinesisPutBuffer extends KinesisMax("maxBufferedBytes", "Kinesis bytes buffered (max)")

/** Half of a task's put requests took no longer. */
class KinesisPutMedian extends KinesisMax("putMillisP50", "Kinesis put milliseconds, median (max of tasks)")

/** 99 of a hundred of a task's put requests took no longer. */
class KinesisPutSlowest extends KinesisMax("putMillisP99", "Kinesis put milliseconds, p99 (max of tasks)")

/** On the driver: what a streaming query's batches put, for its progress. */
private[sparkkinesis] final class WrittenMetrics {
  private var last: Option[Seq[String]] = None

  /** A batch ended whose tasks tell this. */
  def batch(told: Seq[String]): Unit = synchronized { last = Some(told) }

  /** Of the batch that ended since the last question, all zero if none did. Empty before the first. */
  def ofLastBatch(): ju.Map[String, String] = synchronized {
    last.fold(ju.Collections.emptyMap[String, String]()) { told =>
      last = Some(Nil)
      Json.stringMap(SinkDriver.metrics(told.toArray))
    }
  }
}
