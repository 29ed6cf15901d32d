package io.sparkkinesis.bridge;

import java.util.Objects;

/** The engine's functions for a sink's driver side. */
public final class SinkDriver {
  private SinkDriver() {}

  /**
   * Facts about the sink's streams that are needed before the first row. Describes the streams, where permitted.
   *
   * @param configJson {@code {"version":1,"options":{…}}}
   * @param interrupt checked during every wait; null for the thread's own interrupt
   * @return a JSON object for the configuration's {@code facts}; its {@code keyless} is true if any stream takes rows
   *     without a partition key
   * @throws io.sparkkinesis.KinesisConnectorException if a stream doesn't exist, or rules out an option
   */
  public static String facts(String configJson, Interrupt interrupt) throws InterruptedException {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    long handle = NativeBridge.factsOpen(configJson);
    try {
      Await.done(
          interrupt == null ? Interrupt.THREAD : interrupt,
          handle,
          NativeBridge::factsCancel,
          waitMs -> NativeBridge.factsAwait(handle, waitMs));
      return NativeBridge.facts(handle);
    } finally {
      NativeBridge.factsClose(handle);
    }
  }

  /**
   * The combined metrics of several writers, as a JSON object of numbers.
   *
   * @param reports the result of {@link StreamWriter#report} of each writer
   */
  public static String metrics(String[] reports) {
    NativeLibrary.loadAndFollow();
    return NativeBridge.sinkMetrics(reports);
  }
}
