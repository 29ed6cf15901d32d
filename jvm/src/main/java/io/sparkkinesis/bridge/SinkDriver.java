package io.sparkkinesis.bridge;

import java.util.Objects;

/** What a sink's driver side asks of the engine. */
public final class SinkDriver {
  private SinkDriver() {}

  /**
   * What has to be known of the sink's streams before the first row, found out of the service where that is allowed.
   *
   * @param configJson {@code {"version":1,"options":{…}}}
   * @param interrupt asked during every wait; null for the thread's own interrupt
   * @return an object for the configuration's {@code facts}; its {@code keyless} tells whether any stream takes rows
   *     without a partition key
   * @throws io.sparkkinesis.KinesisConnectorException if one doesn't exist, or makes an option impossible
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
   * What writers did together, as a JSON object of numbers.
   *
   * @param told what {@link StreamWriter#told} answered for each
   */
  public static String metrics(String[] told) {
    NativeLibrary.loadAndFollow();
    return NativeBridge.sinkMetrics(told);
  }
}
