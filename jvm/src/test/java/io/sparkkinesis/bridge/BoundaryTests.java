package io.sparkkinesis.bridge;

/** Exports that only a library built with the cargo feature {@code boundary-tests} has. */
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
}
