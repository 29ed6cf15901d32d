package io.sparkkinesis;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Whatever fails in the connector. {@link #kind()} tells failures apart: its numbers never change their
 * meaning, while messages may.
 */
public final class KinesisConnectorException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A defect in the connector. */
  public static final int INTERNAL = 1;
  /** An option's key or value was refused. The cause of an IllegalArgumentException, where options are checked. */
  public static final int INVALID_OPTION = 2;
  /** Not built in this version, or not for this platform. */
  public static final int NOT_SUPPORTED = 3;
  /** The stream, or something else that was named, does not exist. */
  public static final int NOT_FOUND = 4;
  /** Credentials are missing, wrong, or not allowed to do this. */
  public static final int ACCESS = 5;
  /** The service asked for fewer requests, and went on asking after all retries. */
  public static final int THROTTLED = 6;
  /** The service could not be reached, or answered with a server error after all retries. */
  public static final int TRANSPORT = 7;
  /** The service refused the request as wrong. */
  public static final int INVALID_REQUEST = 8;
  /** A KMS key that encrypts the stream can't be used. */
  public static final int KMS = 9;
  /** Records expired, or a shard went away, before they were read. */
  public static final int DATA_LOSS = 10;
  /** Another attempt claimed a nearer end for this shard and batch; the retry reads exactly to it. */
  public static final int CLAIM_CONFLICT = 11;
  /** The checkpoint store failed. */
  public static final int STORE = 12;
  /** Something kept in a checkpoint can't be understood. */
  public static final int CORRUPT_CHECKPOINT = 13;
  /** The stream is not the one that the checkpoint was made for. */
  public static final int STREAM_CHANGED = 14;
  /** A row can't be written as a Kinesis record. */
  public static final int INVALID_ROW = 15;
  /** The service did not accept every record within the retries allowed. */
  public static final int PUT_FAILED = 16;
  /** An object of the bridge was closed already. */
  public static final int INVALID_HANDLE = 17;
  /** The operation was stopped because its task or query was. */
  public static final int INTERRUPTED = 18;
  /** The shard iterator is older than five minutes; a new one is needed. */
  public static final int EXPIRED_ITERATOR = 19;
  /** What was handed over to the native library is malformed. */
  public static final int INVALID_ARGUMENT = 20;
  /** A record of the stream that says it is an aggregate can't be taken apart. */
  public static final int MALFORMED_RECORD = 21;
  /** The service doesn't take the position that a shard was to be read from. */
  public static final int REFUSED_POSITION = 22;
  /** Something else uses it at the same time: a consumer's subscription, or a stream that is being changed. */
  public static final int IN_USE = 23;

  private final int kind;
  private final String kindName;
  private final boolean retryable;
  private final LinkedHashMap<String, String> context;

  /**
   * Called by the native library, and by the bridge for failures of its own.
   *
   * @param kind one of this class's numbers
   * @param kindName its name
   * @param retryable whether the same attempt, made again later, may succeed
   * @param message what failed, why, and what to do; with the context
   * @param context keys and values by turns: the stream, shard, option … it concerns
   * @param cause the exception it came from, or null
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

  /** What kind of failure it is: one of this class's numbers, or a newer one. */
  public int kind() {
    return kind;
  }

  /** The kind's name. */
  public String kindName() {
    return kindName;
  }

  /** Whether the same attempt, made again later, may succeed. */
  public boolean retryable() {
    return retryable;
  }

  /** The names it concerns, in the order in which the message shows them. */
  public Map<String, String> context() {
    return Collections.unmodifiableMap(context);
  }
}
