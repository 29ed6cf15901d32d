package io.sparkkinesis.bridge;

import java.util.Objects;

/** What a sink's driver side asks of the engine. */
public final class SinkDriver {
  private SinkDriver() {}

  /**
   * What has to be known of the stream before the first row, found out of the service where that is allowed.
   *
   * @param configJson {@code {"version":1,"options":{…}}}
   * @param interrupt asked during every wait; null for the thread's own interrupt
   * @return an object for the configuration's {@code stream}; its {@code autoDistribution} tells whether rows need no
   *     partition key
   * @throws io.sparkkinesis.KinesisConnectorException if there is no such stream, or it makes an option impossible
   */
  public static String streamFacts(String configJson, Interrupt interrupt) throws InterruptedException {
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
