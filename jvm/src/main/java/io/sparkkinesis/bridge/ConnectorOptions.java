package io.sparkkinesis.bridge;

/** Checks a user's options, without any I/O. */
public final class ConnectorOptions {
  private ConnectorOptions() {}

  /**
   * Checks the {@code kinesis.*} options among a user's options.
   *
   * @param kind "source", "batchRead" or "sink"
   * @param optionsJson all of the user's options as one JSON object of strings
   * @return {@code {"warnings":["…"],"otherSide":["…"],"streamName":"…","region":"…" or null,
   *     "extraColumns":[{"name":"…","type":"…"}]}}; the types are those of Spark SQL
   * @throws io.sparkkinesis.KinesisConnectorException if an option is wrong; the context has its name
   */
  public static String check(String kind, String optionsJson) {
    NativeLibrary.loadAndFollow();
    return NativeBridge.checkOptions(kind, optionsJson);
  }
}
