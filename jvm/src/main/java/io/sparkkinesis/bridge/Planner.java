package io.sparkkinesis.bridge;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Plans the micro-batches of one query, on the driver. Offsets, tasks and reports are JSON in the engine's format,
 * opaque to callers. Except {@link #metrics} and {@link #close}, methods may be called by one thread at a time only.
 */
public final class Planner implements AutoCloseable {
  /** Maximum steps of a {@link #release}, about ten seconds. */
  private static final int RELEASE_STEPS = 50;

  private final AtomicLong handle;
  private final Interrupt interrupt;

  private Planner(long handle, Interrupt interrupt) {
    this.handle = new AtomicLong(handle);
    this.interrupt = interrupt;
  }

  /**
   * Opens a planner. Inspects the stream and creates nothing.
   *
   * @param configJson {@code {"version":1,"options":{…},"columns":["data",…],"checkpointLocation":"…",
   *     "minBatchesToRetain":100}}
   * @param files access to the checkpoint location
   * @param interrupt checked during every wait; null for the thread's own interrupt
   */
  public static Planner open(String configJson, HadoopFileSystem files, Interrupt interrupt)
      throws InterruptedException {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    Objects.requireNonNull(files, "files");
    return of(NativeBridge.plannerOpen(configJson, files), interrupt);
  }

  /** Opens the planner of a new handle, which is closed if that fails. */
  static Planner of(long handle, Interrupt interrupt) throws InterruptedException {
    Planner planner = new Planner(handle, interrupt == null ? Interrupt.THREAD : interrupt);
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

  /** The offset from which a new query starts. It is created once, and stored in the checkpoint location. */
  public String initialOffset() throws InterruptedException {
    String[] out = new String[1];
    done((h, waitMs) -> NativeBridge.plannerInitialOffset(h, waitMs, out));
    return out[0];
  }

  /** The next batch's offset, or null if there is nothing to read. Waits until the next probe of the stream is due. */
  public String latestOffset(String start) throws InterruptedException {
    String[] out = new String[1];
    int status = done((h, waitMs) -> NativeBridge.plannerLatestOffset(h, start, waitMs, out));
    return status == NativeBridge.NONE ? null : out[0];
  }

  /** The tasks of a batch, each of one shard or of several. */
  public String[] partitions(String offset) {
    return NativeBridge.plannerPartitions(handle.get(), offset);
  }

  /** Takes the report of a shard reader whose task succeeded. */
  public void report(String report) {
    NativeBridge.plannerReport(handle.get(), report);
  }

  /** Marks the batch of this offset as done, and removes the data that only it needed. */
  public void commit(String offset) throws InterruptedException {
    done((h, waitMs) -> NativeBridge.plannerCommit(h, offset, waitMs));
  }

  /**
   * Fixes what a query with {@code Trigger.AvailableNow} reads: each shard up to its tip, or up to a record that
   * arrived after this call.
   */
  public void prepareForAvailableNow() throws InterruptedException {
    done((h, waitMs) -> NativeBridge.plannerPrepareForAvailableNow(h, waitMs));
  }

  /**
   * Call when the query stops, for good or not. Ends the feeds that its readers left in this process, and frees its
   * consumer for its next start or for another query. Doesn't block.
   */
  public void stop() {
    NativeBridge.plannerStop(handle.get());
  }

  /**
   * Call when the query ended for good, not by a failure after which it may restart. Deregisters the consumer that it
   * registered, unless this query or another one uses it again. Gives up after about ten seconds, so as not to block
   * the query's end.
   *
   * @return false if it gave up
   */
  public boolean release() {
    long current = handle.get();
    int status = Await.doneWithin(RELEASE_STEPS, waitMs -> NativeBridge.plannerRelease(current, waitMs));
    return status != NativeBridge.AGAIN;
  }

  /** The source's metrics: a JSON object of strings. */
  public String metrics() {
    return NativeBridge.plannerMetrics(handle.get());
  }

  /** Closes the planner. Further calls have no effect. */
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
