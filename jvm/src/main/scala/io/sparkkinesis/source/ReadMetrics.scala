package io.sparkkinesis.source

import io.sparkkinesis.{KinesisMax, KinesisSum, TaskMetrics}
import org.apache.spark.sql.connector.metric.{CustomMetric, CustomTaskMetric}

/**
 * A scan's metrics in the SQL tab of Spark's UI, over all tasks of one action. Spark creates the classes by name, so
 * they are public and have a constructor without arguments.
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

  /** A reader's metrics from the engine's JSON. Unknown values are absent. */
  def ofTask(json: String): Array[CustomTaskMetric] = TaskMetrics.of(json, names)
}

/** Records fetched; the user records of an aggregate count one by one. */
class KinesisRecords extends KinesisSum("records", "Kinesis records")

/** Bytes of data fetched. */
class KinesisBytes extends KinesisSum("bytes", "Kinesis bytes of data")

/** Requests sent to Kinesis, including repeated ones. */
class KinesisRequests extends KinesisSum("requests", "Kinesis requests")

/** Requests sent again after a failure. */
class KinesisRetries extends KinesisSum("retries", "Kinesis requests sent again")

/** Requests that the service throttled. */
class KinesisThrottles extends KinesisSum("throttles", "Kinesis requests throttled")

/** Enhanced fan-out subscriptions opened again. */
class KinesisResubscriptions extends KinesisSum("resubscriptions", "Kinesis subscriptions opened again")

/** Shards that resumed from prefetched records, or from a subscription, on the same executor. */
class KinesisPrefetchHits extends KinesisSum("prefetchHits", "Kinesis prefetch hits")

/** Prefetched bytes that were left for the next batch. */
class KinesisBufferedBytes extends KinesisSum("bufferedBytes", "Kinesis bytes left to the next batch")

/** The lag of the shard that is farthest behind its tip, in milliseconds. */
class KinesisLag extends KinesisMax("millisBehindLatest", "Kinesis milliseconds behind latest (max)")
