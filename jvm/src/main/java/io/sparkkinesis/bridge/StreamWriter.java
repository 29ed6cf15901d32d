package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * Writes the rows of one task to their streams, on an executor. Rows are collected in a direct buffer, which goes to
 * the engine when it is full. For one thread at a time.
 */
public final class StreamWriter implements AutoCloseable {
  /** Size of the buffer, unless a single row needs more. */
  static final int BUFFER_BYTES = 1 << 20;
  /** Limit for a row with its keys. Kinesis takes records of 10 MiB at most, so a larger row can't be one. */
  static final int LARGEST_ROW_BYTES = 16 << 20;

  // Offsets of each value's length at the start of a row in the buffer, as in rust/jni/include/sparkkinesis.h.
  private static final int PARTITION_KEY_LENGTH = 0;
  private static final int DATA_LENGTH = 4;
  private static final int HASH_KEY_LENGTH = 8;
  private static final int STREAM_NAME_LENGTH = 12;
  /** Size of all lengths; the values follow. */
  private static final int LENGTHS_BYTES = 16;
  /** Marks a value that a row doesn't have, in place of its length. */
  private static final int NO_VALUE = -1;

  private static final byte[] NONE = new byte[0];

  private final AtomicLong handle;
  private final Interrupt interrupt;
  private ByteBuffer buffer;
  private int rows;
  private boolean lost;
  /** True while native code may read the buffer. */
  private volatile boolean handingOver;

  private StreamWriter(long handle, Interrupt interrupt) {
    this.handle = new AtomicLong(handle);
    this.interrupt = interrupt;
  }

  /**
   * Opens a writer.
   *
   * @param configJson {@code {"version":1,"options":{…}}}
   * @param interrupt checked during every wait; null for the thread's own interrupt
   */
  public static StreamWriter open(String configJson, Interrupt interrupt) {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    return of(NativeBridge.writerOpen(configJson), interrupt);
  }

  /** The writer of a new handle. */
  static StreamWriter of(long handle, Interrupt interrupt) {
    return new StreamWriter(handle, interrupt == null ? Interrupt.THREAD : interrupt);
  }

  /**
   * Accepts a record, which may be sent at any time from then on. Blocks while the engine has no room.
   *
   * @param partitionKey null for none, which only some streams allow
   * @param explicitHashKey null for none
   * @param streamName null for the options' own stream
   */
  public void write(UTF8String partitionKey, byte[] data, UTF8String explicitHashKey, UTF8String streamName)
      throws InterruptedException {
    if (data == null) {
      throw invalidRow("a row has no data: Kinesis records need it, so filter such rows out or give them a value");
    }
    byte[] hashKey = bytes(explicitHashKey);
    byte[] key = bytes(partitionKey);
    byte[] stream = bytes(streamName);
    long needed = (long) LENGTHS_BYTES + key.length + data.length + hashKey.length + stream.length;
    if (needed > LARGEST_ROW_BYTES) {
      throw invalidRow("a row of " + data.length + " bytes of data is too large: Kinesis takes records of 10 MiB at"
          + " most");
    }
    makeRoom((int) needed);
    int at = buffer.position();
    buffer.putInt(at + PARTITION_KEY_LENGTH, partitionKey == null ? NO_VALUE : key.length);
    buffer.putInt(at + DATA_LENGTH, data.length);
    buffer.putInt(at + HASH_KEY_LENGTH, explicitHashKey == null ? NO_VALUE : hashKey.length);
    buffer.putInt(at + STREAM_NAME_LENGTH, streamName == null ? NO_VALUE : stream.length);
    // Through the superclass: the method's signature differs between Java 8 and later versions.
    ((java.nio.Buffer) buffer).position(at + LENGTHS_BYTES);
    buffer.put(key).put(data).put(hashKey).put(stream);
    rows++;
  }

  /** Returns when Kinesis has accepted every record, or throws. */
  public void flush() throws InterruptedException {
    handOver();
    settle();
  }

  /**
   * Returns when Kinesis has accepted all records that the engine holds, or throws. The records of a refused call are
   * not among them. For a task that fails anyway, and must not leave requests half done.
   */
  public void settle() throws InterruptedException {
    long current = handle.get();
    Await.done(
        interrupt, current, NativeBridge::writerCancel, waitMs -> NativeBridge.writerFlush(current, waitMs));
  }

  /** The writer's metrics so far, as a JSON object of numbers. */
  public String metrics() {
    return NativeBridge.writerMetrics(handle.get());
  }

  /** The writer's metrics so far, in the form that {@link SinkDriver#metrics} takes. */
  public String report() {
    return NativeBridge.writerReport(handle.get());
  }

  /** Closes the writer and drops records that were not flushed. Further calls have no effect. */
  @Override
  public void close() {
    long closing = handle.getAndSet(0);
    dropBuffer();
    if (closing != 0) {
      NativeBridge.writerClose(closing);
    }
  }

  private void makeRoom(int needed) throws InterruptedException {
    if (buffer != null && buffer.remaining() < needed) {
      handOver();
    }
    if (buffer == null || buffer.remaining() < needed) {
      dropBuffer();
      buffer = ByteBuffer.allocateDirect(Math.max(needed, BUFFER_BYTES)).order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  private void handOver() throws InterruptedException {
    if (lost) {
      throw new KinesisConnectorException(KinesisConnectorException.PUT_FAILED, "PutFailed", true,
          "an earlier write of this task failed or was interrupted, so not all of its records can be accepted",
          new String[0], null);
    }
    if (rows == 0) {
      return;
    }
    long current = handle.get();
    ByteBuffer full = buffer;
    int count = rows;
    // The rows count as lost until the engine has taken them: a later flush must not succeed without them.
    lost = true;
    handingOver = true;
    try {
      Await.done(
          interrupt,
          current,
          NativeBridge::writerCancel,
          waitMs -> NativeBridge.writerWrite(current, full, full.position(), count, waitMs));
    } finally {
      handingOver = false;
    }
    lost = false;
    rows = 0;
    if (full.capacity() > BUFFER_BYTES) {
      // Don't keep a buffer that was enlarged for one row.
      dropBuffer();
    } else {
      // Through the superclass, as above.
      ((java.nio.Buffer) full).clear();
    }
  }

  /** Frees the buffer. If native code may still read it, because another thread closes, the garbage collector does. */
  private void dropBuffer() {
    ByteBuffer dropped = buffer;
    buffer = null;
    if (dropped != null && !handingOver) {
      DirectMemory.free(dropped);
    }
  }

  private static byte[] bytes(UTF8String text) {
    return text == null ? NONE : text.getBytes();
  }

  private static KinesisConnectorException invalidRow(String message) {
    return new KinesisConnectorException(
        KinesisConnectorException.INVALID_ROW, "InvalidRow", false, message, new String[0], null);
  }
}
