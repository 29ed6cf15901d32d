package io.sparkkinesis.bridge;

/** Exports of {@code rust/jni-testing}, which the connector's own library doesn't have. */
final class BoundaryTests {
  private BoundaryTests() {}

  /** Panics with a formatted message. */
  static native void panic(String text);

  /** Panics with a payload that is not a string. */
  static native void panicWithoutText();

  /** Fails with the error kind of this number; returns if there is no such kind. */
  static native void fail(int kind);

  /** Number of open native objects. */
  static native long openHandles();

  /** A new handle for a stand-in for a planner, which isn't open yet. */
  static native long planner(String config, HadoopFileSystem files);

  /** A new handle for a stand-in for a reader. */
  static native long reader(String config, boolean poison);

  /** A new handle for a stand-in for a writer. */
  static native long writer(String config);
}
