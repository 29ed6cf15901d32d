package io.sparkkinesis

import io.sparkkinesis.bridge.Interrupt
import org.apache.spark.TaskContext

/** The checks that the bridge makes between its short waits, so that a stopped query or task returns promptly. */
private[sparkkinesis] object TaskInterrupt {

  /** For the driver: throws if the query's thread was interrupted. */
  val Driver: Interrupt = () => if (Thread.interrupted()) throw new InterruptedException("the query was stopped")

  /** For a task: throws if its thread was interrupted, or if Spark killed it without interrupting threads. */
  def of(context: TaskContext): Interrupt = () =>
    if (Thread.interrupted() || (context != null && context.isInterrupted())) {
      throw new InterruptedException("the task was killed")
    }
}
