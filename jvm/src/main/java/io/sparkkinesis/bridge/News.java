package io.sparkkinesis.bridge;

/**
 * What executors tell the driver of their enhanced fan-out subscriptions, so that a query need not ask the service
 * whether there is something to read. Messages and answers are JSON of the engine; they hold no secrets.
 */
public final class News {
  private News() {}

  /**
   * Waits, in an executor, until the driver is to know something new; about once a second while there are
   * subscriptions. For one thread of the process.
   */
  public static String toTell() throws InterruptedException {
    NativeLibrary.load();
    String[] out = new String[1];
    while (NativeBridge.newsToTell(Await.STEP_MS, out) == NativeBridge.AGAIN) {
      Interrupt.THREAD.check();
    }
    return out[0];
  }

  /** Takes the driver's answer to what was told. */
  public static void answered(String answer) {
    NativeBridge.newsAnswered(answer);
  }

  /** Takes, in the driver, what an executor tells. Answers what the executor has to know. */
  public static String heard(String news) {
    NativeLibrary.load();
    return NativeBridge.newsHeard(news);
  }
}
