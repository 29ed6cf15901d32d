package io.sparkkinesis.bridge;

import java.io.IOException;

/** The file operations that a checkpoint needs. Native threads call them concurrently. */
public interface HadoopFileSystem {

  /**
   * Creates the file with this content, whole or not at all, and any missing parent folders.
   *
   * @return false if the path exists already
   */
  boolean putIfAbsent(String path, byte[] content) throws IOException;

  /** The file's content, or null if it does not exist. */
  byte[] read(String path) throws IOException;

  /** The names of a folder's entries, without leftovers of interrupted puts; empty if the folder doesn't exist. */
  String[] list(String folder) throws IOException;

  /** Removes a file, or a folder with its content. Does nothing if it doesn't exist. */
  void delete(String path) throws IOException;
}
