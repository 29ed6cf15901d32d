package io.sparkkinesis.bridge;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Plans the micro-batches of one query, on the driver. Offsets, tasks and reports are JSON of the engine,
 * which nobody else needs to understand. Methods other than {@link #metrics} and {@link #close} are called by
 * one thread at a time.
 */
public final class Planner implements AutoCloseable {
  /** Steps of a {@link #release}: some ten seconds. */
  private static final int RELEASE_STEPS = 50;

  private final AtomicLong handle;
  private final Interrupt interrupt;

  private Planner(long handle, Interrupt interrupt) {
    this.handle = new AtomicLong(handle);
    this.interrupt = interrupt;
  }

  /**
   * Opens a planner: looks at the stream, makes nothing.
   *
   * @param configJson {@code {"version":1,"options":{…},"checkpointLocation":"…","minBatchesToRetain":100}}
   * @param files reaches the checkpoint location
   * @param interrupt asked during every wait; null for the thread's own interrupt
   */
  public static Planner open(String configJson, HadoopFileSystem files, Interrupt interrupt)
      throws InterruptedException {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    Objects.requireNonNull(files, "files");
    Planner planner =
        new Planner(NativeBridge.plannerOpen(configJson, files), interrupt == null ? Interrupt.THREAD : interrupt);
    boolean open = false;
    try {
      planner.done((h, waitMs) -> NativeBridge.plannerAwaitOpen(h, waitMs));
      open = true;
      return planner;
    } finally {
      if (!open) {
        planner.close();
      }
    }
  }

  /** The offset a new query starts from: made once, and kept in the checkpoint location. */
  public String initialOffset() throws InterruptedException {
    String[] out = new String[1];
    done((h, waitMs) -> NativeBridge.plannerInitialOffset(h, waitMs, out));
    return out[0];
  }

  /** The next batch's offset, or null when nothing is new. Waits until the next look at the stream is due. */
  public String latestOffset(String start) throws InterruptedException {
    String[] out = new String[1];
    int status = done((h, waitMs) -> NativeBridge.plannerLatestOffset(h, start, waitMs, out));
    return status == NativeBridge.NONE ? null : out[0];
  }

  /** The tasks of a batch, one for each shard. */
  public String[] partitions(String offset) {
    return NativeBridge.plannerPartitions(handle.get(), offset);
  }

  /** Takes the report of a shard reader whose task succeeded. */
  public void report(String report) {
    NativeBridge.plannerReport(handle.get(), report);
  }

  /** The batch of this offset is done: what only it needed is removed. */
  public void commit(String offset) throws InterruptedException {
    done((h, waitMs) -> NativeBridge.plannerCommit(h, offset, waitMs));
  }

  /** Fixes what a query with {@code Trigger.AvailableNow} reads. */
  public void prepareForAvailableNow() throws InterruptedException {
    done((h, waitMs) -> NativeBridge.plannerPrepareForAvailableNow(h, waitMs));
  }

  /**
   * The query stopped, for good or not: ends what its readers left in this process, and lets its next start, or another
   * query, have its consumer. Waits for nothing.
   */
  public void stop() {
    NativeBridge.plannerStop(handle.get());
  }

  /**
   * The query ended for good, and not by a failure after which it is started again: what it registered with the
   * service is given back, unless the query or another one uses it again. Gives up after a while, since the query's end
   * must not hang on it.
   *
   * @return whether it was done
   */
  public boolean release() {
    long current = handle.get();
    int status =
        Await.doneWithin(
            RELEASE_STEPS,
            current,
            NativeBridge::plannerCancel,
            waitMs -> NativeBridge.plannerRelease(current, waitMs));
    return status != NativeBridge.AGAIN;
  }

  /** The source's metrics: a JSON object of strings. */
  public String metrics() {
    return NativeBridge.plannerMetrics(handle.get());
  }

  /** Ends the planner. Once is enough, more often does no harm. */
  @Override
  public void close() {
    long closing = handle.getAndSet(0);
    if (closing != 0) {
      NativeBridge.plannerClose(closing);
    }
  }

  private interface Step {
    int run(long handle, int waitMs);
  }

  private int done(Step step) throws InterruptedException {
    long current = handle.get();
    return Await.done(interrupt, current, NativeBridge::plannerCancel, waitMs -> step.run(current, waitMs));
  }
}
