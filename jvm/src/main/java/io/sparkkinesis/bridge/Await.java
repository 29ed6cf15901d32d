package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.util.function.LongConsumer;

/** Waits for a native operation in short steps. */
final class Await {
  private Await() {}

  /** Length of one step, and so the delay until a killed task notices. */
  static final int STEP_MS = 200;

  /** A native method that waits at most {@code waitMs}. */
  @FunctionalInterface
  interface Step {
    int run(int waitMs);
  }

  /**
   * Calls the method until it is done, and returns its status. If the interrupt throws, cancels the operation, so
   * that the handle is free for another one.
   */
  static int done(Interrupt interrupt, long handle, LongConsumer cancel, Step step) throws InterruptedException {
    boolean done = false;
    try {
      int status;
      while ((status = step.run(STEP_MS)) == NativeBridge.AGAIN) {
        interrupt.check();
      }
      done = true;
      return status;
    } finally {
      if (!done) {
        quietly(handle, cancel);
      }
    }
  }

  /**
   * Like {@link #done}, but with a bounded number of steps and no interrupt; AGAIN after the last. The operation then
   * goes on until the handle is closed.
   */
  static int doneWithin(int steps, Step step) {
    int status = NativeBridge.AGAIN;
    for (int i = 0; i < steps && status == NativeBridge.AGAIN; i++) {
      status = step.run(STEP_MS);
    }
    return status;
  }

  private static void quietly(long handle, LongConsumer cancel) {
    try {
      cancel.accept(handle);
    } catch (KinesisConnectorException closed) {
      // Another thread closed the handle, which also cancels the operation. The first exception matters more.
    }
  }
}
