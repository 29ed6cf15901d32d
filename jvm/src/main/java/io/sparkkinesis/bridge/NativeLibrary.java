package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.Locale;

/**
 * Loads the native library, once for each class loader. It is copied to a file of its own first: the JVM
 * refuses to load one file for two class loaders, and Spark may have two of them with the connector in each.
 */
final class NativeLibrary {
  private NativeLibrary() {}

  /** A system property with the path of a library to load instead of the one in the JAR. */
  static final String OVERRIDE = "io.sparkkinesis.library";

  private static boolean loaded;
  private static KinesisConnectorException failure;

  /** Makes the native methods callable, or throws why that can't be; the same again at every call. */
  static synchronized void load() {
    if (!loaded) {
      if (failure != null) {
        throw new KinesisConnectorException(
            failure.kind(), failure.kindName(), false, failure.getMessage(), new String[0], failure);
      }
      try {
        loadFirst();
        loaded = true;
      } catch (KinesisConnectorException e) {
        failure = e;
        throw e;
      }
    }
  }

  /** As {@link #load}, and lets native code follow what may have changed: the log's level, system properties. */
  static void loadAndFollow() {
    load();
    NativeBridge.setLogLevel(UpCalls.logLevel());
    NativeBridge.setSystemProperties(
        System.getProperty("aws.region"),
        System.getProperty("aws.accessKeyId"),
        System.getProperty("aws.secretAccessKey"),
        System.getProperty("aws.sessionToken"));
  }

  private static void loadFirst() {
    String override = System.getProperty(OVERRIDE);
    if (override != null && !override.isEmpty()) {
      Path path = Paths.get(override);
      if (!Files.isRegularFile(path)) {
        throw internal("the system property " + OVERRIDE + " names " + path + ", which is no file", null);
      }
      loadCopy(override, () -> Files.newInputStream(path));
    } else {
      String resource = resource(System.getProperty("os.name"), System.getProperty("os.arch"));
      if (NativeLibrary.class.getResource(resource) == null) {
        throw unsupported("this build of the connector has no native library for this platform (" + resource
            + " is not in its JAR): take a JAR made by scripts/package");
      }
      loadCopy("the JAR's " + resource, () -> NativeLibrary.class.getResourceAsStream(resource));
    }
    checkVersion();
    NativeBridge.initialize(UpCalls.logLevel());
  }

  /** Where the JAR has the library for this platform. */
  static String resource(String os, String arch) {
    if (!os.toLowerCase(Locale.ROOT).contains("linux")) {
      throw unsupported("the connector's native library runs on Linux only, and this is " + os);
    }
    String cpu;
    switch (arch.toLowerCase(Locale.ROOT)) {
      case "amd64":
      case "x86_64":
        cpu = "x86_64";
        break;
      case "aarch64":
      case "arm64":
        cpu = "aarch64";
        break;
      default:
        throw unsupported("the connector has no native library for the processor architecture " + arch);
    }
    return "/io/sparkkinesis/native/linux-" + cpu + "/libsparkkinesis.so";
  }

  private interface Source {
    InputStream open() throws IOException;
  }

  private static void loadCopy(String name, Source source) {
    String folder = System.getProperty("java.io.tmpdir");
    Path copy = null;
    try {
      copy = Files.createTempFile("libsparkkinesis-", ".so");
      try (InputStream in = source.open()) {
        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
      }
      System.load(copy.toAbsolutePath().toString());
    } catch (IOException e) {
      throw internal("the native library could not be unpacked to " + folder + ": " + e
          + ". Is there room, and may this user write there? The system property java.io.tmpdir chooses another"
          + " folder.", e);
    } catch (UnsatisfiedLinkError e) {
      throw internal("the native library (" + name + ") could not be loaded from its copy in " + folder + ": "
          + e.getMessage() + ". If that folder is mounted noexec, choose another one with the system property"
          + " java.io.tmpdir; the library needs glibc (not musl).", e);
    } finally {
      deleteQuietly(copy);
    }
  }

  private static void deleteQuietly(Path copy) {
    if (copy != null) {
      try {
        // Linux keeps the content while the library is in use.
        Files.deleteIfExists(copy);
      } catch (IOException e) {
        copy.toFile().deleteOnExit();
      }
    }
  }

  private static void checkVersion() {
    int version;
    try {
      version = NativeBridge.abiVersion();
    } catch (UnsatisfiedLinkError e) {
      throw internal("the library that was loaded is not the connector's native library", e);
    }
    if (version != NativeBridge.ABI_VERSION) {
      throw internal("the native library has interface version " + version + ", but the connector's classes need "
          + NativeBridge.ABI_VERSION + ". They come from different releases: put one connector JAR only on the"
          + " class path, and don't set " + OVERRIDE + ".", null);
    }
  }

  private static KinesisConnectorException unsupported(String message) {
    return new KinesisConnectorException(
        KinesisConnectorException.NOT_SUPPORTED, "NotSupported", false, message, new String[0], null);
  }

  private static KinesisConnectorException internal(String message, Throwable cause) {
    return new KinesisConnectorException(
        KinesisConnectorException.INTERNAL, "Internal", false, message, new String[0], cause);
  }
}
