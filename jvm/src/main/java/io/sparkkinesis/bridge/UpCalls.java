package io.sparkkinesis.bridge;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.ParentNotDirectoryException;
import org.apache.hadoop.fs.PathPermissionException;
import org.apache.hadoop.fs.UnsupportedFileSystemException;
import org.apache.hadoop.security.AccessControlException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The Java methods that native threads call. */
final class UpCalls {
  private UpCalls() {}

  private static final String ROOT_LOGGER = "io.sparkkinesis.native";

  // Log levels, as in rust/jni/include/sparkkinesis.h.
  private static final int OFF = 0;
  private static final int ERROR = 1;
  private static final int WARN = 2;
  private static final int INFO = 3;
  private static final int DEBUG = 4;
  private static final int TRACE = 5;

  /** The most detailed log level that is enabled for native code. */
  static int logLevel() {
    Logger log = LoggerFactory.getLogger(ROOT_LOGGER);
    if (log.isTraceEnabled()) {
      return TRACE;
    } else if (log.isDebugEnabled()) {
      return DEBUG;
    } else if (log.isInfoEnabled()) {
      return INFO;
    } else if (log.isWarnEnabled()) {
      return WARN;
    }
    return log.isErrorEnabled() ? ERROR : OFF;
  }

  /** Logs one event of native code. */
  static void log(int level, String logger, String message) {
    // SLF4J's binding caches loggers.
    Logger log = LoggerFactory.getLogger(logger);
    switch (level) {
      case ERROR:
        log.error(message);
        break;
      case WARN:
        log.warn(message);
        break;
      case INFO:
        log.info(message);
        break;
      case DEBUG:
        log.debug(message);
        break;
      default:
        log.trace(message);
        break;
    }
  }

  /** An exception in one line: its class and message, and those of the root cause if they add information. */
  static String describe(Throwable error) {
    Throwable root = error;
    // The bound guards against a cycle of causes.
    for (int depth = 0; root.getCause() != null && depth < 20; depth++) {
      root = root.getCause();
    }
    String text = error.toString();
    String cause = root.toString();
    return text.contains(cause) ? text : text + " (caused by " + cause + ")";
  }

  /** Whether the same call may succeed later. Errors of permissions and of malformed paths are permanent. */
  static boolean isRetryable(Throwable error) {
    return error instanceof IOException
        && !(error instanceof AccessControlException)
        && !(error instanceof AccessDeniedException)
        && !(error instanceof FileNotFoundException)
        && !(error instanceof FileAlreadyExistsException)
        && !(error instanceof ParentNotDirectoryException)
        && !(error instanceof PathPermissionException)
        && !(error instanceof UnsupportedFileSystemException);
  }
}
