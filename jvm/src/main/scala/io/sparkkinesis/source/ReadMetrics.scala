package io.sparkkinesis.source

import io.sparkkinesis.{KinesisMax, KinesisSum, TaskMetrics}
import org.apache.spark.sql.connector.metric.{CustomMetric, CustomTaskMetric}

/**
 * What a scan shows in the SQL tab of Spark's page, of all tasks of one action. Spark makes the
 * classes by their names, hence public ones with a constructor without arguments.
 */
private[source] object ReadMetrics {

  def all: Array[CustomMetric] =
    Array(
      new KinesisRecords,
      new KinesisBytes,
      new KinesisRequests,
      new KinesisRetries,
      new KinesisThrottles,
      new KinesisResubscriptions,
      new KinesisPrefetchHits,
      new KinesisBufferedBytes,
      new KinesisLag)

  private val names = all.map(_.name()).toSet

  /** A reader's metrics as the engine writes them. What isn't known is absent. */
  def ofTask(json: String): Array[CustomTaskMetric] = TaskMetrics.of(json, names)
}

/** Records fetched; an aggregate's user records count one by one. */
class KinesisRecords extends KinesisSum("records", "Kinesis records")

/** Bytes of their data. */
class KinesisBytes extends KinesisSum("bytes", "Kinesis bytes of data")

/** Requests sent to Kinesis, repeated ones too. */
class KinesisRequests extends KinesisSum("requests", "Kinesis requests")

/** Requests sent again after a failure. */
class KinesisRetries extends KinesisSum("retries", "Kinesis requests sent again")

/** Requests that the service throttled. */
class KinesisThrottles extends KinesisSum("throttles", "Kinesis requests throttled")

/** Enhanced fan-out subscriptions opened again. */
class KinesisResubscriptions extends KinesisSum("resubscriptions", "Kinesis subscriptions opened again")

/** Shards read on from what was fetched ahead, or from a subscription, of the same executor. */
class KinesisPrefetchHits extends KinesisSum("prefetchHits", "Kinesis prefetch hits")

/** Bytes fetched ahead that were left to the next batch. */
class KinesisBufferedBytes extends KinesisSum("bufferedBytes", "Kinesis bytes left to the next batch")

/** The lag of the shard that is farthest behind its tip, in milliseconds. */
class KinesisLag extends KinesisMax("millisBehindLatest", "Kinesis milliseconds behind latest (max)")
