package io.sparkkinesis.source

import java.util.UUID
import java.util.concurrent.{ConcurrentHashMap, TimeUnit}
import java.util.concurrent.atomic.AtomicBoolean

import scala.util.Try
import scala.util.control.NonFatal

import org.apache.spark.SparkContext
import org.apache.spark.scheduler.{SparkListener, SparkListenerApplicationEnd, SparkListenerEvent}
import org.apache.spark.sql.streaming.StreamingQueryListener.QueryTerminatedEvent

/**
 * Tells how one run of a query ended: for good, or by a failure after which it may be started again. Spark stops a
 * query's streams in both cases, and says which it was only afterwards, however long the application's listeners take.
 * An application that ends in order ends for good what runs in it.
 */
private[source] final class QueryEnd private (
    private val context: SparkContext,
    query: UUID,
    run: Option[UUID],
    ended: Boolean => Unit)
    extends SparkListener {

  private val told = new AtomicBoolean
  @volatile private var stopped = false

  /** The query stopped the stream. Whether for good is told later. */
  def streamStopped(): Unit = stopped = true

  override def onOtherEvent(event: SparkListenerEvent): Unit = event match {
    // A run before this one may be told of so late.
    case terminated: QueryTerminatedEvent if terminated.id == query && run.forall(_ == terminated.runId) =>
      tell(terminated.exception.isEmpty)
    case _ =>
  }

  override def onApplicationEnd(event: SparkListenerApplicationEnd): Unit = QueryEnd.applicationEnds(context)

  private def tell(forGood: Boolean): Unit =
    if (told.compareAndSet(false, true)) {
      QueryEnd.live.remove(this)
      context.removeSparkListener(this)
      // Spark's thread for listeners serves others, too.
      QueryEnd.onItsOwnThread(ended(forGood))
    }
}

private[source] object QueryEnd {

  /** The local property in which a query's thread has the query's id. */
  private val QueryId = "sql.streaming.queryId"

  /** The one in which it has the run's, as long as nobody names another job group. */
  private val JobGroup = "spark.jobGroup.id"

  /** Longest that the application's end waits for what its queries still do. */
  private val ApplicationWaitsMs = 12000L

  private val live = ConcurrentHashMap.newKeySet[QueryEnd]()
  private val atWork = ConcurrentHashMap.newKeySet[Thread]()

  /**
   * Calls `ended` once, on a thread of its own, with whether the query of this thread ended for good. None where that
   * can't be found out.
   */
  def of(context: SparkContext)(ended: Boolean => Unit): Option[QueryEnd] =
    try {
      Option(context.getLocalProperty(QueryId)).map { id =>
        val run = Option(context.getLocalProperty(JobGroup)).flatMap(group => Try(UUID.fromString(group)).toOption)
        val end = new QueryEnd(context, UUID.fromString(id), run, ended)
        context.addSparkListener(end)
        live.add(end)
        end
      }
    } catch {
      // The application ends with the query.
      case NonFatal(_) => None
    }

  /**
   * Queries that run now end as if they were stopped. Of one whose stream is stopped, but whose end hasn't been told, the
   * cause isn't known. The first listener that hears of it does this for all, and holds up the application's end.
   */
  private def applicationEnds(context: SparkContext): Unit = {
    live.toArray(Array.empty[QueryEnd]).filter(_.context eq context).foreach(end => end.tell(forGood = !end.stopped))
    val deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ApplicationWaitsMs)
    atWork.toArray(Array.empty[Thread]).foreach { thread =>
      val left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime())
      if (left > 0) thread.join(left)
    }
  }

  private def onItsOwnThread(work: => Unit): Unit = {
    val thread = new Thread("kinesis-query-end") {
      override def run(): Unit =
        try work
        finally atWork.remove(this)
    }
    thread.setDaemon(true)
    atWork.add(thread)
    thread.start()
  }
}
