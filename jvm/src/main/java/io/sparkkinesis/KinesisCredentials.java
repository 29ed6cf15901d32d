package io.sparkkinesis;

import java.time.Instant;
import java.util.Objects;
import java.util.Optional;

/** Credentials of a {@link KinesisCredentialsProvider}. {@link #toString} shows none of their values. */
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

  /** Long-term keys of a user. */
  public static KinesisCredentials of(String accessKeyId, String secretAccessKey) {
    return new KinesisCredentials(accessKeyId, secretAccessKey, null, null);
  }

  /**
   * Temporary keys of a session.
   *
   * @param expirationTime when the keys expire; null if unknown
   */
  public static KinesisCredentials ofSession(
      String accessKeyId, String secretAccessKey, String sessionToken, Instant expirationTime) {
    Objects.requireNonNull(sessionToken, "sessionToken");
    return new KinesisCredentials(accessKeyId, secretAccessKey, sessionToken, expirationTime);
  }

  /** The access key's ID. */
  public String accessKeyId() {
    return accessKeyId;
  }

  /** The access key's secret. */
  public String secretAccessKey() {
    return secretAccessKey;
  }

  /** The session's token; null for keys of a user. */
  public String sessionToken() {
    return sessionToken;
  }

  /** When the keys expire, if known. */
  public Optional<Instant> expirationTime() {
    return Optional.ofNullable(expirationTime);
  }

  @Override
  public String toString() {
    return "KinesisCredentials(redacted)";
  }
}
