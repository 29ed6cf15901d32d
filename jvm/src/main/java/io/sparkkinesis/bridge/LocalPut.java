package io.sparkkinesis.bridge;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Creates a file on a local disk, whole or not at all, unless it exists. Hadoop's local file system has no such
 * operation: its rename replaces the target, and its create shows a file before its content.
 */
final class LocalPut {
  private LocalPut() {}

  static final String LOCK = ".lock";

  /** Lock among the threads of this process; file locks only exclude other processes. */
  private static final Object IN_PROCESS = new Object();

  static boolean put(Path target, byte[] content) throws IOException {
    return put(target, content, true);
  }

  /**
   * Creates the file, optionally without hard links.
   *
   * @param links whether to try a hard link, which is atomic and refuses an existing target
   * @return false if the target exists
   */
  static boolean put(Path target, byte[] content, boolean links) throws IOException {
    Files.createDirectories(target.getParent());
    Path temporary =
        target.resolveSibling(HadoopCheckpointFiles.temporaryName(target.getFileName().toString()));
    try {
      write(temporary, content);
      if (links) {
        try {
          Files.createLink(target, temporary);
          return true;
        } catch (FileAlreadyExistsException e) {
          return false;
        } catch (NoSuchFileException e) {
          throw e;
        } catch (UnsupportedOperationException | FileSystemException e) {
          // Some mounted file systems have no hard links. Any other cause fails again below.
          return putUnderLock(temporary, target);
        }
      }
      return putUnderLock(temporary, target);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private static void write(Path file, byte[] content) throws IOException {
    try (FileChannel out =
        FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      ByteBuffer rest = ByteBuffer.wrap(content);
      while (rest.hasRemaining()) {
        out.write(rest);
      }
      // The content must be on disk before the name, or a crash could leave an empty file.
      out.force(true);
    }
  }

  /** Moves the file under a lock of the operating system, which releases it if this process dies. */
  private static boolean putUnderLock(Path temporary, Path target) throws IOException {
    synchronized (IN_PROCESS) {
      try (FileChannel channel =
              FileChannel.open(
                  target.resolveSibling(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock lock = channel.lock()) {
        if (!lock.isValid()) {
          throw new IOException("the lock beside " + target + " was lost");
        }
        if (Files.exists(target)) {
          return false;
        }
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        return true;
      } catch (OverlappingFileLockException e) {
        // The connector's classes in another class loader of this process hold the lock.
        throw new IOException("another put beside " + target + " is under way", e);
      }
    }
  }
}
