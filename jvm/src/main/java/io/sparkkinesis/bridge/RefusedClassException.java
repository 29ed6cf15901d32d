package io.sparkkinesis.bridge;

/** Thrown for a class that can't provide credentials. The message has the reason. */
final class RefusedClassException extends Exception {
  private static final long serialVersionUID = 1L;

  RefusedClassException(String message) {
    super(message);
  }

  RefusedClassException(String message, Throwable cause) {
    super(message, cause);
  }
}
