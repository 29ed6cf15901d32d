package io.sparkkinesis.bridge;

/** Check between the short waits of a long operation, so that a killed task stops promptly. */
@FunctionalInterface
public interface Interrupt {

  /** Throws InterruptedException if the caller should stop. Any other exception stops it as well. */
  void check() throws InterruptedException;

  /** Throws if the calling thread was interrupted. */
  Interrupt THREAD =
      () -> {
        if (Thread.interrupted()) {
          throw new InterruptedException("the thread was interrupted");
        }
      };
}
