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

/** What native threads call in Java. */
final class UpCalls {
  private UpCalls() {}

  private static final String ROOT_LOGGER = "io.sparkkinesis.native";

  /** The most detailed level of the JVM's log for native code: 0 off, 1 error … 5 trace. */
  static int logLevel() {
    Logger log = LoggerFactory.getLogger(ROOT_LOGGER);
    if (log.isTraceEnabled()) {
      return 5;
    } else if (log.isDebugEnabled()) {
      return 4;
    } else if (log.isInfoEnabled()) {
      return 3;
    } else if (log.isWarnEnabled()) {
      return 2;
    }
    return log.isErrorEnabled() ? 1 : 0;
  }

  /** Writes one event of native code. */
  static void log(int level, String logger, String message) {
    // The binding keeps its loggers, so no cache here.
    Logger log = LoggerFactory.getLogger(logger);
    switch (level) {
      case 1:
        log.error(message);
        break;
      case 2:
        log.warn(message);
        break;
      case 3:
        log.info(message);
        break;
      case 4:
        log.debug(message);
        break;
      default:
        log.trace(message);
        break;
    }
  }

  /** An exception in one line: its class, its message, and the root cause's where that says more. */
  static String describe(Throwable error) {
    Throwable root = error;
    // The bound is for causes that form a circle.
    for (int depth = 0; root.getCause() != null && depth < 20; depth++) {
      root = root.getCause();
    }
    String text = error.toString();
    String cause = root.toString();
    return text.contains(cause) ? text : text + " (caused by " + cause + ")";
  }

  /** Whether the same call may succeed later. Permissions and malformed paths don't mend themselves. */
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
