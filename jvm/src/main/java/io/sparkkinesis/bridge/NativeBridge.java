package io.sparkkinesis.bridge;

import java.nio.ByteBuffer;

/**
 * All native methods of the connector. Each throws {@link io.sparkkinesis.KinesisConnectorException}. A method with
 * {@code waitMs} waits at most that long, and returns {@link #AGAIN} if its operation is not done: the operation
 * continues, and the same call waits for it again.
 *
 * <p>Only the classes of this package call these methods, after {@link NativeLibrary#load()}.
 */
final class NativeBridge {
  private NativeBridge() {}

  /** Version of these methods and of their meaning. The native library must have the same number. */
  static final int ABI_VERSION = 10;

  /** Not done yet: call again with the same arguments. */
  static final int AGAIN = 0;
  /** Done, with a result where the operation has one. */
  static final int DONE = 1;
  /** Done, without a result. */
  static final int NONE = 2;

  static native int abiVersion();

  static native void initialize(int logLevel);

  static native void setLogLevel(int level);

  static native void setSystemProperties(
      String region, String accessKeyId, String secretAccessKey, String sessionToken);

  static native String checkOptions(String kind, String json);

  static native long plannerOpen(String config, HadoopFileSystem files);

  static native int plannerAwaitOpen(long handle, int waitMs);

  static native int plannerInitialOffset(long handle, int waitMs, String[] out);

  static native int plannerLatestOffset(long handle, String start, int waitMs, String[] out);

  static native String[] plannerPartitions(long handle, String offset);

  static native void plannerReport(long handle, String report);

  static native int plannerCommit(long handle, String offset, int waitMs);

  static native int plannerPrepareForAvailableNow(long handle, int waitMs);

  static native void plannerStop(long handle);

  static native int plannerRelease(long handle, int waitMs);

  static native String plannerMetrics(long handle);

  static native void plannerCancel(long handle);

  static native void plannerClose(long handle);

  static native long batchReadOpen(String config);

  static native int batchReadAwait(long handle, int waitMs);

  static native String[] batchReadTasks(long handle);

  static native void batchReadCancel(long handle);

  static native void batchReadClose(long handle);

  static native long readerOpen(String config, String task, HadoopFileSystem files, boolean poison);

  static native String readerStreamName(long handle);

  static native String[] readerColumns(long handle);

  static native int readerNext(long handle, int waitMs, long[] rowsAndColumns);

  static native int readerFinish(long handle, boolean succeeded, int waitMs, String[] out);

  static native String readerMetrics(long handle);

  static native void readerCancel(long handle);

  static native void readerClose(long handle);

  static native int nextSubscriptionReport(int waitMs, String[] out);

  static native void subscriptionReportAcknowledged(String acknowledgement);

  static native String onSubscriptionReport(String report);

  static native long factsOpen(String config);

  static native int factsAwait(long handle, int waitMs);

  static native String facts(long handle);

  static native void factsCancel(long handle);

  static native void factsClose(long handle);

  static native String sinkMetrics(String[] reports);

  static native long writerOpen(String config);

  static native int writerWrite(long handle, ByteBuffer rows, int length, int count, int waitMs);

  static native int writerFlush(long handle, int waitMs);

  static native String writerMetrics(long handle);

  static native String writerReport(long handle);

  static native void writerCancel(long handle);

  static native void writerClose(long handle);
}
