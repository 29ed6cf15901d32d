package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.util.function.LongConsumer;

/** Waits for a native operation in short steps. */
final class Await {
  private Await() {}

  /** One step: how soon a killed task notices. */
  static final int STEP_MS = 200;

  /** A native method that waits at most this long. */
  @FunctionalInterface
  interface Step {
    int run(int waitMs);
  }

  /**
   * Calls the method until it is done and answers its status. When the interrupt throws, the operation is
   * dropped, so that the handle is free for another one.
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

  /** As {@link #done}, for a bounded number of steps and without asking for an interrupt; AGAIN when it gave up. */
  static int doneWithin(int steps, long handle, LongConsumer cancel, Step step) {
    int status = NativeBridge.AGAIN;
    try {
      for (int i = 0; i < steps && status == NativeBridge.AGAIN; i++) {
        status = step.run(STEP_MS);
      }
      return status;
    } finally {
      if (status == NativeBridge.AGAIN) {
        quietly(handle, cancel);
      }
    }
  }

  private static void quietly(long handle, LongConsumer cancel) {
    try {
      cancel.accept(handle);
    } catch (KinesisConnectorException closed) {
      // Closed meanwhile, which drops the operation too. What is thrown already matters more.
    }
  }
}
