package io.sparkkinesis.bridge;

import java.util.Objects;

/** Plans a batch read, on the driver. */
public final class BatchRead {
  private BatchRead() {}

  /**
   * The tasks for {@link ShardReader#open}, each of one shard or of several. The ending position LATEST means the
   * moment of this call.
   *
   * @param configJson {@code {"version":1,"options":{…},"columns":["data",…]}}
   * @param interrupt checked during every wait; null for the thread's own interrupt
   */
  public static String[] tasks(String configJson, Interrupt interrupt) throws InterruptedException {
    NativeLibrary.loadAndFollow();
    Objects.requireNonNull(configJson, "configJson");
    long handle = NativeBridge.batchReadOpen(configJson);
    try {
      Await.done(
          interrupt == null ? Interrupt.THREAD : interrupt,
          handle,
          NativeBridge::batchReadCancel,
          waitMs -> NativeBridge.batchReadAwait(handle, waitMs));
      return NativeBridge.batchReadTasks(handle);
    } finally {
      NativeBridge.batchReadClose(handle);
    }
  }
}
