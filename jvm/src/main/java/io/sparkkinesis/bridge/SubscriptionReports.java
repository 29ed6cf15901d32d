package io.sparkkinesis.bridge;

/**
 * Executors' reports on their enhanced fan-out subscriptions. From them the driver learns without a request to the
 * service whether there are records. Reports and acknowledgements are JSON in the engine's format, without secrets.
 */
public final class SubscriptionReports {
  private SubscriptionReports() {}

  /**
   * Waits, in an executor, for the next report. One is due after every change, and about once a second while there are
   * subscriptions. For one thread of the process.
   */
  public static String next() throws InterruptedException {
    NativeLibrary.load();
    String[] out = new String[1];
    while (NativeBridge.nextSubscriptionReport(Await.STEP_MS, out) == NativeBridge.AGAIN) {
      Interrupt.THREAD.check();
    }
    return out[0];
  }

  /** Takes, in an executor, the driver's acknowledgement of a report. */
  public static void acknowledged(String acknowledgement) {
    NativeBridge.subscriptionReportAcknowledged(acknowledgement);
  }

  /** Takes, in the driver, an executor's report. Returns the acknowledgement. */
  public static String receive(String report) {
    NativeLibrary.load();
    return NativeBridge.onSubscriptionReport(report);
  }
}
