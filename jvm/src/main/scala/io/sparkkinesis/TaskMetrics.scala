package io.sparkkinesis

import scala.collection.JavaConverters._

import org.apache.spark.sql.connector.metric.{CustomMetric, CustomSumMetric, CustomTaskMetric}

/** What a task tells of itself for the SQL tab of Spark's page. */
private[sparkkinesis] object TaskMetrics {

  /** Those of a task's metrics, as the engine writes them, that the tab shows. What isn't known is absent. */
  def of(json: String, shown: Set[String]): Array[CustomTaskMetric] =
    Json
      .stringMap(json)
      .asScala
      .collect { case (metric, number) if shown(metric) => TaskMetric(metric, number.toLong) }
      .toArray

  private final case class TaskMetric(override val name: String, override val value: Long) extends CustomTaskMetric
}

/** A number that adds up over the tasks. */
abstract class KinesisSum(metric: String, shown: String) extends CustomSumMetric {
  override def name(): String = metric
  override def description(): String = shown
}

/** A number of which the greatest of all tasks is shown. */
abstract class KinesisMax(metric: String, shown: String) extends CustomMetric {
  override def name(): String = metric
  override def description(): String = shown
  override def aggregateTaskMetrics(taskMetrics: Array[Long]): String =
    if (taskMetrics.isEmpty) "" else taskMetrics.max.toString
}
