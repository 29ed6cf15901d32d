package io.sparkkinesis

import scala.collection.JavaConverters._

import org.apache.spark.sql.connector.metric.{CustomMetric, CustomSumMetric, CustomTaskMetric}

/** A task's metrics for the SQL tab of Spark's UI. */
private[sparkkinesis] object TaskMetrics {

  /** Picks the metrics in `shown` from the engine's JSON. Unknown values are absent. */
  def of(json: String, shown: Set[String]): Array[CustomTaskMetric] =
    Json
      .stringMap(json)
      .asScala
      .collect { case (metric, number) if shown(metric) => TaskMetric(metric, number.toLong) }
      .toArray

  private final case class TaskMetric(override val name: String, override val value: Long) extends CustomTaskMetric
}

/** A metric whose total is the sum over all tasks. */
abstract class KinesisSum(metric: String, shown: String) extends CustomSumMetric {
  override def name(): String = metric
  override def description(): String = shown
}

/** A metric whose total is the maximum of all tasks. */
abstract class KinesisMax(metric: String, shown: String) extends CustomMetric {
  override def name(): String = metric
  override def description(): String = shown
  override def aggregateTaskMetrics(taskMetrics: Array[Long]): String =
    if (taskMetrics.isEmpty) "" else taskMetrics.max.toString
}
