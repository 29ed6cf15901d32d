package io.sparkkinesis.bridge

import java.util.concurrent.ConcurrentLinkedQueue

import scala.collection.JavaConverters._

import org.apache.logging.log4j.{Level, LogManager}
import org.apache.logging.log4j.core.{LogEvent, Logger}
import org.apache.logging.log4j.core.appender.AbstractAppender
import org.apache.logging.log4j.core.config.{Configurator, Property}
import org.scalatest.concurrent.Eventually
import org.scalatest.time.{Millis, Seconds, Span}

/** Native events in the JVM's log. */
class LogBoundarySuite extends BoundarySuite with Eventually {
  private val LoggerName = "io.sparkkinesis.native"

  implicit override val patienceConfig: PatienceConfig =
    PatienceConfig(timeout = Span(30, Seconds), interval = Span(20, Millis))

  private final class Recorder extends AbstractAppender("recorder", null, null, true, Property.EMPTY_ARRAY) {
    val lines = new ConcurrentLinkedQueue[String]
    override def append(event: LogEvent): Unit = {
      lines.add(s"${event.getLevel} ${event.getLoggerName} ${event.getMessage.getFormattedMessage}")
      ()
    }
    def has(line: String): Boolean = lines.asScala.exists(_ == line)
  }

  private def recording[T](level: Level)(body: Recorder => T): T = {
    Configurator.setLevel(LoggerName, level)
    val logger = LogManager.getLogger(LoggerName).asInstanceOf[Logger]
    val recorder = new Recorder
    recorder.start()
    logger.addAppender(recorder)
    try body(recorder)
    finally logger.removeAppender(recorder)
  }

  private def report(text: String): Unit = {
    val planner = StandIn.planner(config(), NoFiles, null)
    try planner.report(text)
    finally planner.close()
  }

  private def line(text: String): String = s"INFO $LoggerName.jni.stand_in took a report report=$text"

  test("events arrive with level, logger and fields") {
    recording(Level.INFO) { recorder =>
      report("größe 1")
      eventually(assert(recorder.has(line("größe 1"))))
    }
  }

  test("levels that are off do not arrive, and a change of the level is followed") {
    recording(Level.WARN) { recorder =>
      report("hidden")
      // Once the later event has arrived, the hidden one would have arrived too.
      Configurator.setLevel(LoggerName, Level.INFO)
      report("shown")
      eventually(assert(recorder.has(line("shown"))))
      assert(!recorder.lines.asScala.exists(_.contains("hidden")))
      assert(!recorder.lines.asScala.exists(_.startsWith("TRACE")))
      Configurator.setLevel(LoggerName, Level.TRACE)
      report("detailed")
      eventually(assert(recorder.lines.asScala.exists(_.startsWith(s"TRACE $LoggerName.jni.stand_in"))))
    }
    Configurator.setLevel(LoggerName, Level.INFO)
  }

  test("a panic is logged") {
    recording(Level.INFO) { recorder =>
      failure(BoundaryTests.panic("for the log"))
      eventually(assert(recorder.lines.asScala.exists(l => l.startsWith("ERROR") && l.contains("for the log"))))
    }
  }

  test("a log that fails harms nobody") {
    Configurator.setLevel(LoggerName, Level.INFO)
    val logger = LogManager.getLogger(LoggerName).asInstanceOf[Logger]
    val broken = new AbstractAppender("broken", null, null, false, Property.EMPTY_ARRAY) {
      override def append(event: LogEvent): Unit = throw new IllegalStateException("the disk is full")
    }
    broken.start()
    logger.addAppender(broken)
    try for (n <- 1 to 10) report(s"into a broken log $n")
    finally logger.removeAppender(broken)
    recording(Level.INFO) { recorder =>
      report("after it")
      eventually(assert(recorder.has(line("after it"))))
    }
  }
}
