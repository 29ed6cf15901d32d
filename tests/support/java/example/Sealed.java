package example;

import io.sparkkinesis.KinesisCredentials;
import io.sparkkinesis.KinesisCredentialsProvider;

/** A provider by the connector's own interface that gives nothing, and tells its parameter when it says why. */
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
