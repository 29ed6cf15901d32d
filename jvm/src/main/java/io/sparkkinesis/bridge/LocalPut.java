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
 * Puts a file on a local disk, whole or not at all, if it isn't there. Hadoop's local file system has no such
 * operation: its rename replaces, and its create shows a file before its content.
 */
final class LocalPut {
  private LocalPut() {}

  static final String LOCK = ".lock";

  /** File locks are the process's, so threads need one of their own. */
  private static final Object IN_PROCESS = new Object();

  static boolean put(Path target, byte[] content) throws IOException {
    return put(target, content, true);
  }

  /** {@code links}: whether to try a hard link, which is atomic and refuses an existing target. */
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
          // Some mounted file systems have no hard links. Any other reason shows itself again below.
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
      // The content must be on the disk before the name is, or a crash could leave an empty file.
      out.force(true);
    }
  }

  /** The lock is the operating system's, which takes it back when its holder dies. */
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
        // The connector's classes of another class loader hold it.
        throw new IOException("another put beside " + target + " is under way", e);
      }
    }
  }
}
