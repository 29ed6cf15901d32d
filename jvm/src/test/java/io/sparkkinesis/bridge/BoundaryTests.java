package io.sparkkinesis.bridge;

/** Exports that only a library built with the cargo feature {@code boundary-tests} has. */
final class BoundaryTests {
  private BoundaryTests() {}

  /** Panics with a formatted text. */
  static native void panic(String text);

  /** Panics with a payload that is no text. */
  static native void panicWithoutText();

  /** Fails with the kind of this number; returns if there is none. */
  static native void fail(int kind);

  /** How many native objects are open. */
  static native long openHandles();
}
