package software.amazon.awssdk.auth.credentials;

import java.time.Instant;
import java.util.Optional;

/** Stand-in for the class of AWS's SDK for Java 2, with the methods that the connector calls. */
public final class AwsSessionCredentials implements AwsCredentials {
  private final String accessKeyId;
  private final String secretAccessKey;
  private final String sessionToken;
  private final Instant expirationTime;

  public AwsSessionCredentials(
      String accessKeyId, String secretAccessKey, String sessionToken, Instant expirationTime) {
    this.accessKeyId = accessKeyId;
    this.secretAccessKey = secretAccessKey;
    this.sessionToken = sessionToken;
    this.expirationTime = expirationTime;
  }

  @Override
  public String accessKeyId() {
    return accessKeyId;
  }

  @Override
  public String secretAccessKey() {
    return secretAccessKey;
  }

  public String sessionToken() {
    return sessionToken;
  }

  public Optional<Instant> expirationTime() {
    return Optional.ofNullable(expirationTime);
  }
}
