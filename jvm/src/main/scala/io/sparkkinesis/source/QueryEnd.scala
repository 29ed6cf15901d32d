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
 * Detects how one run of a query ended: for good, or by a failure after which it may start again. Spark stops a query's
 * streams in both cases, and announces the cause only afterwards, delayed by the application's listeners. When an
 * application ends in order, its running queries end for good.
 */
private[source] final class QueryEnd private (
    private val context: SparkContext,
    query: UUID,
    run: Option[UUID],
    ended: Boolean => Unit)
    extends SparkListener {

  private val notified = new AtomicBoolean
  @volatile private var stopped = false

  /** Call when the query stops the stream. Spark announces later whether it ended for good. */
  def streamStopped(): Unit = stopped = true

  override def onOtherEvent(event: SparkListenerEvent): Unit = event match {
    // The event of an earlier run may arrive this late.
    case terminated: QueryTerminatedEvent if terminated.id == query && run.forall(_ == terminated.runId) =>
      notifyOnce(terminated.exception.isEmpty)
    case _ =>
  }

  override def onApplicationEnd(event: SparkListenerApplicationEnd): Unit = QueryEnd.applicationEnds(context)

  private def notifyOnce(forGood: Boolean): Unit =
    if (notified.compareAndSet(false, true)) {
      QueryEnd.live.remove(this)
      context.removeSparkListener(this)
      // Spark's listener thread is shared, so it must not be blocked.
      QueryEnd.onItsOwnThread(ended(forGood))
    }
}

private[source] object QueryEnd {

  /** Local property of a query's thread with the query's ID. */
  private val QueryId = "sql.streaming.queryId"

  /** Local property of a query's thread with the run's ID, unless the application sets another job group. */
  private val JobGroup = "spark.jobGroup.id"

  /** Upper bound for the application's end to wait for the work of ended queries. */
  private val ApplicationWaitsMs = 12000L

  private val live = ConcurrentHashMap.newKeySet[QueryEnd]()
  private val atWork = ConcurrentHashMap.newKeySet[Thread]()

  /**
   * Calls `ended` once, on its own thread, with true if the query of this thread ended for good. None if its end can't
   * be observed.
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
      // The application is ending together with the query.
      case NonFatal(_) => None
    }

  /**
   * Ends all queries of an application that ends. A running query ends for good. One whose stream is stopped, but whose
   * end Spark hasn't announced, may have failed, so it doesn't. The first listener to be called does this for all, and
   * delays the application's end.
   */
  private def applicationEnds(context: SparkContext): Unit = {
    val ending = live.toArray(Array.empty[QueryEnd]).filter(_.context eq context)
    ending.foreach(end => end.notifyOnce(forGood = !end.stopped))
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
