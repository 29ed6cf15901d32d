package io.sparkkinesis

import io.sparkkinesis.bridge.Interrupt
import org.apache.spark.TaskContext

/** Asked by the bridge between its short waits, so that whoever is stopped leaves at once. */
private[sparkkinesis] object TaskInterrupt {

  /** For the driver: the query's thread was interrupted. */
  val Driver: Interrupt = () => if (Thread.interrupted()) throw new InterruptedException("the query was stopped")

  /** For a task: its thread was interrupted, or Spark killed it without interrupting threads. */
  def of(context: TaskContext): Interrupt = () =>
    if (Thread.interrupted() || (context != null && context.isInterrupted())) {
      throw new InterruptedException("the task was killed")
    }
}
