package example;

import java.time.Instant;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;

/** A provider with the interface of AWS's SDK for Java 2. Its credentials contain its parameter. */
public final class Vault implements AwsCredentialsProvider {
  private final String param;

  public Vault(String param) {
    this.param = param;
  }

  @Override
  public AwsCredentials resolveCredentials() {
    return new AwsSessionCredentials("AKIAVAULT", "s-" + param, "t-" + param, Instant.now().plusSeconds(3600));
  }
}
