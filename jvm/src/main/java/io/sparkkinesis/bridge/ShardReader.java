package io.sparkkinesis.bridge;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** Reads a task's shards, one or several, in one batch, on an executor. For one thread at a time. */
public final class ShardReader implements AutoCloseable {

  /**
   * Environment variable or system property. With 1, the reader overwrites a batch's memory when the batch's life
   * ends. For tests: it exposes code that keeps a row too long.
   */
  static final String POISON = "SPARKKINESIS_POISON";

  /** Maximum steps for the reader of a failed task to end; nothing depends on its end. */
  private static final int STEPS_AFTER_FAILURE = 10;

  private final AtomicLong handle;
  private final Interrupt interrupt;
  private final NativeBatch batch;
  private boolean finished;
  private String report;

  private ShardReader(long handle, Interrupt interrupt, NativeBatch batch) {
    this.handle = new AtomicLong(handle);
    this.interrupt = interrupt;
    this.batch = batch;
  }

  /**
   * Starts reading.
   *
   * @param configJson as for {@link Planner#open}
   * @param taskJson one of {@link Planner#partitions}
   * @param files access to the checkpoint location
   * @param interrupt checked during every wait; null for the thread's own interrupt
   */
  public static ShardReader open(
      String configJson, String taskJson, HadoopFileSystem files, Interrupt interrupt) {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    Objects.requireNonNull(taskJson, "taskJson");
    Objects.requireNonNull(files, "files");
    return of(NativeBridge.readerOpen(configJson, taskJson, files, poison()), interrupt);
  }

  /** Whether {@link #POISON} is set. */
  static boolean poison() {
    return "1".equals(System.getenv(POISON)) || "1".equals(System.getProperty(POISON));
  }

  /** The reader of a new handle, which is closed on failure. */
  static ShardReader of(long handle, Interrupt interrupt) {
    boolean open = false;
    try {
      UTF8String streamName = UTF8String.fromString(NativeBridge.readerStreamName(handle));
      NativeBatch batch = new NativeBatch(streamName, NativeBridge.readerColumns(handle));
      ShardReader reader = new ShardReader(handle, interrupt == null ? Interrupt.THREAD : interrupt, batch);
      open = true;
      return reader;
    } finally {
      if (!open) {
        NativeBridge.readerClose(handle);
      }
    }
  }

  /** Loads the next rows into {@link #batch}. False at the end of the batch, once its claim is stored. */
  public boolean next() throws InterruptedException {
    // The native side frees the memory during this call, so no column may point there.
    batch.clear();
    long current = handle.get();
    long[] out = batch.newNumbers();
    int status =
        Await.done(
            interrupt, current, NativeBridge::readerCancel, ms -> NativeBridge.readerNext(current, ms, out));
    if (status == NativeBridge.NONE) {
      return false;
    }
    batch.set(out);
    return true;
  }

  /**
   * The rows that the last {@link #next} loaded, with the configuration's {@code columns} in their order. If it has no
   * such field: data, streamName, partitionKey, sequenceNumber, approximateArrivalTimestamp, and the columns of
   * kinesis.extraColumns in its order. They are in native memory, and valid until the following {@code next} or
   * {@code close}.
   */
  public ColumnarBatch batch() {
    return batch.columns();
  }

  /**
   * Ends the read.
   *
   * @param succeeded whether the task succeeded. If so, and the batch's end was not reached, the end of the fetched
   *     records is claimed as the batch's end. A failed task claims nothing.
   * @return the report for {@link Planner#report}, or null if there is none; the same for every further call
   */
  public String finish(boolean succeeded) throws InterruptedException {
    if (!finished) {
      long current = handle.get();
      String[] out = new String[1];
      Await.Step step = waitMs -> NativeBridge.readerFinish(current, succeeded, waitMs, out);
      if (succeeded) {
        Await.done(interrupt, current, NativeBridge::readerCancel, step);
      } else {
        // The task is stopping anyway, and an interrupt here would hide why it failed.
        Await.doneWithin(STEPS_AFTER_FAILURE, step);
      }
      report = out[0];
      finished = true;
    }
    return report;
  }

  /** The reader's metrics so far, as JSON. */
  public String metrics() {
    return NativeBridge.readerMetrics(handle.get());
  }

  /** Closes the reader and frees its memory. Further calls have no effect. */
  @Override
  public void close() {
    long closing = handle.getAndSet(0);
    batch.clear();
    if (closing != 0) {
      NativeBridge.readerClose(closing);
    }
  }
}
