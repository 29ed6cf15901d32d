package io.sparkkinesis.bridge;

/** Asked between the short waits of an operation that takes long, so that a killed task leaves at once. */
@FunctionalInterface
public interface Interrupt {

  /** Throws when the caller should leave. Any other exception ends the operation as well. */
  void check() throws InterruptedException;

  /** Leaves when the calling thread was interrupted. */
  Interrupt THREAD =
      () -> {
        if (Thread.interrupted()) {
          throw new InterruptedException("the thread was interrupted");
        }
      };
}
