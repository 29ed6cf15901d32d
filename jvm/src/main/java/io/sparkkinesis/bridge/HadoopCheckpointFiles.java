package io.sparkkinesis.bridge;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.security.PrivilegedExceptionAction;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Abortable;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options.Rename;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * The file operations of a checkpoint on Hadoop's file systems. Native threads have neither the user nor the class
 * loader of the query or task, so this object keeps those of the thread that creates it.
 */
public final class HadoopCheckpointFiles implements HadoopFileSystem {

  /** Schemes whose rename is atomic and refuses an existing target. A put writes a temporary file and renames it. */
  private static final Set<String> ATOMIC_RENAME =
      new HashSet<>(Arrays.asList("hdfs", "viewfs", "abfs", "abfss"));

  private static final int LARGEST_FILE_BYTES = 64 << 20;

  private final Configuration conf;
  private final ClassLoader loader;
  private final UserGroupInformation user;

  /** Uses this configuration, the current user, and the thread's class loader. */
  public HadoopCheckpointFiles(Configuration conf) {
    this.conf = conf;
    this.loader = Thread.currentThread().getContextClassLoader();
    try {
      this.user = UserGroupInformation.getCurrentUser();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException("the current Hadoop user can't be found out", e);
    }
  }

  @Override
  public boolean putIfAbsent(String path, byte[] content) throws IOException {
    return asUser(() -> put(new Path(path), content));
  }

  @Override
  public byte[] read(String path) throws IOException {
    return asUser(
        () -> {
          Path file = new Path(path);
          FileSystem fs = file.getFileSystem(conf);
          try (FSDataInputStream in = fs.open(file)) {
            return readAll(in, file);
          } catch (FileNotFoundException e) {
            return null;
          }
        });
  }

  @Override
  public String[] list(String folder) throws IOException {
    return asUser(
        () -> {
          Path path = new Path(folder);
          List<String> names = new ArrayList<>();
          try {
            for (FileStatus status : path.getFileSystem(conf).listStatus(path)) {
              String name = status.getPath().getName();
              if (!isHidden(name)) {
                names.add(name);
              }
            }
          } catch (FileNotFoundException e) {
            return new String[0];
          }
          return names.toArray(new String[0]);
        });
  }

  @Override
  public void delete(String path) throws IOException {
    asUser(
        () -> {
          Path target = new Path(path);
          try {
            FileSystem fs = target.getFileSystem(conf);
            // delete() also returns false if the path doesn't exist.
            if (!fs.delete(target, true) && fs.exists(target)) {
              throw new IOException(target + " could not be deleted");
            }
          } catch (FileNotFoundException e) {
            // Another attempt has deleted it.
          }
          return null;
        });
  }

  private boolean put(Path target, byte[] content) throws IOException {
    FileSystem fs = target.getFileSystem(conf);
    String scheme = fs.getUri().getScheme().toLowerCase(Locale.ROOT);
    if (scheme.equals("file")) {
      return LocalPut.put(java.nio.file.Paths.get(target.toUri().getPath()), content);
    }
    if (ATOMIC_RENAME.contains(scheme)) {
      return putByRename(fs, target, content);
    }
    return putByCreate(fs, target, content);
  }

  private boolean putByRename(FileSystem fs, Path target, byte[] content) throws IOException {
    if (fs.exists(target)) {
      return false;
    }
    Path temporary = new Path(target.getParent(), temporaryName(target.getName()));
    try {
      write(fs.create(temporary, false), content);
      FileContext.getFileContext(fs.getUri(), conf).rename(temporary, target, Rename.NONE);
      return true;
    } catch (FileAlreadyExistsException e) {
      deleteQuietly(fs, temporary);
      return false;
    } catch (IOException | RuntimeException e) {
      deleteQuietly(fs, temporary);
      throw e;
    }
  }

  /** For stores where a file appears when its stream is closed, and for unknown file systems. */
  private boolean putByCreate(FileSystem fs, Path target, byte[] content) throws IOException {
    FSDataOutputStream out;
    try {
      out = fs.create(target, false);
    } catch (FileAlreadyExistsException e) {
      return false;
    }
    write(out, content);
    return true;
  }

  /** Writes and closes. If the write fails, aborts the stream where possible: closing could publish part of a file. */
  private static void write(FSDataOutputStream out, byte[] content) throws IOException {
    boolean written = false;
    try {
      out.write(content);
      written = true;
    } finally {
      if (!written && out.getWrappedStream() instanceof Abortable) {
        ((Abortable) out.getWrappedStream()).abort();
      } else {
        out.close();
      }
    }
  }

  private static byte[] readAll(FSDataInputStream in, Path file) throws IOException {
    java.io.ByteArrayOutputStream content = new java.io.ByteArrayOutputStream();
    byte[] part = new byte[8192];
    int length;
    while ((length = in.read(part)) >= 0) {
      content.write(part, 0, length);
      if (content.size() > LARGEST_FILE_BYTES) {
        throw new IOException(file + " is larger than any file of a checkpoint of the Kinesis connector");
      }
    }
    return content.toByteArray();
  }

  /** A unique, hidden name for a file that is still being written. */
  static String temporaryName(String name) {
    return "." + name + "." + UUID.randomUUID() + ".tmp";
  }

  /** Temporary files, locks and Hadoop's checksums; the connector's own names don't begin like this. */
  private static boolean isHidden(String name) {
    return name.startsWith(".");
  }

  private static void deleteQuietly(FileSystem fs, Path path) {
    try {
      fs.delete(path, false);
    } catch (IOException e) {
      // The leftover is harmless: list() skips it, and other attempts use other names.
    }
  }

  private <T> T asUser(PrivilegedExceptionAction<T> action) throws IOException {
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    thread.setContextClassLoader(loader);
    try {
      return user.doAs(action);
    } catch (InterruptedException e) {
      thread.interrupt();
      throw (IOException) new InterruptedIOException(e.getMessage()).initCause(e);
    } finally {
      thread.setContextClassLoader(before);
    }
  }
}
