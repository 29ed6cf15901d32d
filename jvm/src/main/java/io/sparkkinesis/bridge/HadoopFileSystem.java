package io.sparkkinesis.bridge;

import java.io.IOException;

/** The few file operations that a checkpoint needs. Called from native threads, several at a time. */
public interface HadoopFileSystem {

  /**
   * Creates the file with this content, whole or not at all, and its folders where they are missing.
   *
   * @return false if the path exists already
   */
  boolean putIfAbsent(String path, byte[] content) throws IOException;

  /** The file's content, or null if it does not exist. */
  byte[] read(String path) throws IOException;

  /** The names of what is in a folder, without what an interrupted put left; empty if there is no folder. */
  String[] list(String folder) throws IOException;

  /** Removes a file, or a folder with all that is in it. One that does not exist is fine. */
  void delete(String path) throws IOException;
}
