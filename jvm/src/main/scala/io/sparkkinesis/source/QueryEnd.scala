package io.sparkkinesis.source

import java.util.UUID

import scala.util.control.NonFatal

import org.apache.spark.SparkContext
import org.apache.spark.scheduler.{SparkListener, SparkListenerEvent}
import org.apache.spark.sql.streaming.StreamingQueryListener.QueryTerminatedEvent

/**
 * Tells how a query ended: for good, or by a failure after which it may be started again. Spark stops a query's streams
 * in both cases, and says which it was only afterwards.
 */
private[source] final class QueryEnd private (context: SparkContext, query: UUID, ended: Boolean => Unit)
    extends SparkListener {

  override def onOtherEvent(event: SparkListenerEvent): Unit = event match {
    case terminated: QueryTerminatedEvent if terminated.id == query =>
      context.removeSparkListener(this)
      ended(terminated.exception.isEmpty)
    case _ =>
  }
}

private[source] object QueryEnd {

  /** The local property in which a query's thread has the query's id. */
  private val QueryId = "sql.streaming.queryId"

  /**
   * Calls `ended` once, with whether the query of this thread ended without a failure. To be called while it stops its
   * streams. Where that can't be found out it is called at once, with false.
   */
  def await(context: SparkContext)(ended: Boolean => Unit): Unit = {
    val awaited =
      try {
        Option(context.getLocalProperty(QueryId)).map { id =>
          context.addSparkListener(new QueryEnd(context, UUID.fromString(id), ended))
        }
      } catch {
        // The application ends with the query.
        case NonFatal(_) => None
      }
    if (awaited.isEmpty) ended(false)
  }
}
