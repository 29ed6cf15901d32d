package io.sparkkinesis

import java.{util => ju}

import scala.util.control.NonFatal

import io.sparkkinesis.bridge.SubscriptionReports
import org.apache.spark.api.plugin.{DriverPlugin, ExecutorPlugin, PluginContext, SparkPlugin}
import org.slf4j.LoggerFactory

/**
 * Sends executors' reports on new records of enhanced fan-out to the driver. Optional: set `spark.plugins` to
 * `io.sparkkinesis.KinesisPlugin` when the application starts. Without it, the driver of a cluster probes the service,
 * at most once a second.
 */
final class KinesisPlugin extends SparkPlugin {
  override def driverPlugin(): DriverPlugin = {
    Compatibility.check()
    new KinesisDriverPlugin
  }

  override def executorPlugin(): ExecutorPlugin = new KinesisExecutorPlugin
}

private final class KinesisDriverPlugin extends DriverPlugin {
  override def receive(message: AnyRef): AnyRef = message match {
    case report: String => SubscriptionReports.receive(report)
    case other => throw new IllegalArgumentException(s"not a message of the Kinesis connector: $other")
  }
}

private final class KinesisExecutorPlugin extends ExecutorPlugin {
  import KinesisExecutorPlugin._

  private var reporter: Option[Thread] = None

  override def init(context: PluginContext, extraConf: ju.Map[String, String]): Unit =
    // The driver sees subscriptions of its own process directly.
    if (context.executorID() != Driver) {
      val thread = new Thread(() => report(context), "kinesis-subscription-reports")
      thread.setDaemon(true)
      thread.start()
      reporter = Some(thread)
    }

  override def shutdown(): Unit = reporter.foreach(_.interrupt())

  private def report(context: PluginContext): Unit =
    try {
      var retryMs = RetryMs
      while (true) {
        try {
          SubscriptionReports.acknowledged(context.ask(SubscriptionReports.next()).asInstanceOf[String])
          retryMs = RetryMs
        } catch {
          // The driver or the native library may be missing temporarily. Meanwhile, the driver probes the service.
          case NonFatal(e) =>
            log.warn(
              s"enhanced fan-out subscriptions could not be reported to the driver; trying again in $retryMs ms",
              e)
            Thread.sleep(retryMs)
            retryMs = math.min(retryMs * 2, MaxRetryMs)
        }
      }
    } catch {
      case _: InterruptedException => log.debug("the executor ends")
    }
}

private object KinesisExecutorPlugin {
  private val log = LoggerFactory.getLogger(classOf[KinesisPlugin])

  /** ID of the executor in the driver's process (`local[…]`), as in Spark's SparkContext. */
  private val Driver = "driver"
  private val RetryMs = 1000L
  private val MaxRetryMs = 60000L
}
