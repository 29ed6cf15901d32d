package io.sparkkinesis.bridge;

/** A class that can't give credentials; the message says why. */
final class RefusedClassException extends Exception {
  private static final long serialVersionUID = 1L;

  RefusedClassException(String message) {
    super(message);
  }

  RefusedClassException(String message, Throwable cause) {
    super(message, cause);
  }
}
