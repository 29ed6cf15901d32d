package io.sparkkinesis.bridge;

/**
 * Executors' reports on their enhanced fan-out subscriptions, by which the driver knows whether there is something to
 * read without asking the service. Reports and acknowledgements are JSON of the engine; they hold no secrets.
 */
public final class SubscriptionReports {
  private SubscriptionReports() {}

  /**
   * Waits, in an executor, for the next report: as soon as something changed, and about once a second while there are
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
