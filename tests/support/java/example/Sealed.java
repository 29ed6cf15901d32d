package example;

import io.sparkkinesis.KinesisCredentials;
import io.sparkkinesis.KinesisCredentialsProvider;

/** A provider with the connector's own interface that always fails, with its parameter in the message. */
public final class Sealed implements KinesisCredentialsProvider {
  private final String param;

  public Sealed(String param) {
    this.param = param;
  }

  @Override
  public KinesisCredentials resolveCredentials() {
    throw new IllegalStateException("the vault is sealed to " + param);
  }
}
