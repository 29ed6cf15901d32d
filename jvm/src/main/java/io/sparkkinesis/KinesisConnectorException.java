package io.sparkkinesis;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Any failure of the connector. Distinguish failures by {@link #kind()}: the meaning of its numbers is stable,
 * while messages may change.
 */
public final class KinesisConnectorException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A defect in the connector. */
  public static final int INTERNAL = 1;
  /** An option's key or value was refused. The check of options makes it the cause of an IllegalArgumentException. */
  public static final int INVALID_OPTION = 2;
  /** This version, or this platform, doesn't support the request. */
  public static final int NOT_SUPPORTED = 3;
  /** The stream, or another named resource, does not exist. */
  public static final int NOT_FOUND = 4;
  /** Credentials are missing or wrong, or lack a permission. */
  public static final int ACCESS = 5;
  /** The service throttled the request, and all of its retries. */
  public static final int THROTTLED = 6;
  /** After all retries, the service was unreachable or returned a server error. */
  public static final int TRANSPORT = 7;
  /** The service refused the request as invalid. */
  public static final int INVALID_REQUEST = 8;
  /** A KMS key that encrypts the stream can't be used. */
  public static final int KMS = 9;
  /** Records expired, or their shard was deleted, before they were read. */
  public static final int DATA_LOSS = 10;
  /** Another attempt claimed an earlier end for this shard and batch; the retry reads exactly up to it. */
  public static final int CLAIM_CONFLICT = 11;
  /** The checkpoint store failed. */
  public static final int STORE = 12;
  /** An entry of a checkpoint can't be parsed. */
  public static final int CORRUPT_CHECKPOINT = 13;
  /** The stream is not the one that the checkpoint was made for. */
  public static final int STREAM_CHANGED = 14;
  /** A row can't be written as a Kinesis record. */
  public static final int INVALID_ROW = 15;
  /** The service did not accept every record within the allowed retries. */
  public static final int PUT_FAILED = 16;
  /** An object of the bridge is already closed. */
  public static final int INVALID_HANDLE = 17;
  /** The operation was stopped together with its task or query. */
  public static final int INTERRUPTED = 18;
  /** The shard iterator is older than five minutes; a new one is needed. */
  public static final int EXPIRED_ITERATOR = 19;
  /** An argument to the native library is malformed. */
  public static final int INVALID_ARGUMENT = 20;
  /** A record that is marked as an aggregate can't be decoded. */
  public static final int MALFORMED_RECORD = 21;
  /** The service refused the position from which to read a shard. */
  public static final int REFUSED_POSITION = 22;
  /** The resource is in use elsewhere: the consumer has another subscription, or the stream is being changed. */
  public static final int IN_USE = 23;

  private final int kind;
  private final String kindName;
  private final boolean retryable;
  private final LinkedHashMap<String, String> context;

  /**
   * Called by the native library, and by the bridge for its own failures.
   *
   * @param kind one of this class's numbers
   * @param kindName the kind's name
   * @param retryable whether the same attempt may succeed later
   * @param message what failed, why, and what to do; includes the context
   * @param context alternating keys and values: the stream, shard, option … that the failure concerns
   * @param cause the underlying exception, or null
   */
  public KinesisConnectorException(
      int kind, String kindName, boolean retryable, String message, String[] context, Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.kindName = kindName;
    this.retryable = retryable;
    this.context = new LinkedHashMap<>();
    for (int i = 0; i + 1 < context.length; i += 2) {
      this.context.put(context[i], context[i + 1]);
    }
  }

  /** The kind of failure: one of this class's numbers, or a number added by a newer release. */
  public int kind() {
    return kind;
  }

  /** The kind's name. */
  public String kindName() {
    return kindName;
  }

  /** Whether the same attempt may succeed later. */
  public boolean retryable() {
    return retryable;
  }

  /** The resources that the failure concerns (stream, shard, option …), in the order of the message. */
  public Map<String, String> context() {
    return Collections.unmodifiableMap(context);
  }
}
