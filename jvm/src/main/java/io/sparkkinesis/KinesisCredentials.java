package io.sparkkinesis;

import java.time.Instant;
import java.util.Objects;
import java.util.Optional;

/** What a {@link KinesisCredentialsProvider} gives. Its text shows none of it. */
public final class KinesisCredentials {
  private final String accessKeyId;
  private final String secretAccessKey;
  private final String sessionToken;
  private final Instant expirationTime;

  private KinesisCredentials(
      String accessKeyId, String secretAccessKey, String sessionToken, Instant expirationTime) {
    this.accessKeyId = Objects.requireNonNull(accessKeyId, "accessKeyId");
    this.secretAccessKey = Objects.requireNonNull(secretAccessKey, "secretAccessKey");
    this.sessionToken = sessionToken;
    this.expirationTime = expirationTime;
  }

  /** Keys of a user. */
  public static KinesisCredentials of(String accessKeyId, String secretAccessKey) {
    return new KinesisCredentials(accessKeyId, secretAccessKey, null, null);
  }

  /**
   * Keys of a session.
   *
   * @param expirationTime when they expire; null where that isn't known
   */
  public static KinesisCredentials ofSession(
      String accessKeyId, String secretAccessKey, String sessionToken, Instant expirationTime) {
    Objects.requireNonNull(sessionToken, "sessionToken");
    return new KinesisCredentials(accessKeyId, secretAccessKey, sessionToken, expirationTime);
  }

  /** The key's id. */
  public String accessKeyId() {
    return accessKeyId;
  }

  /** The key's secret. */
  public String secretAccessKey() {
    return secretAccessKey;
  }

  /** The session's token; null for keys of a user. */
  public String sessionToken() {
    return sessionToken;
  }

  /** When they expire, where that is known. */
  public Optional<Instant> expirationTime() {
    return Optional.ofNullable(expirationTime);
  }

  @Override
  public String toString() {
    return "KinesisCredentials(redacted)";
  }
}
