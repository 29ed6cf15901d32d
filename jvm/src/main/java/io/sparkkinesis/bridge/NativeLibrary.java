package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads the native library, once for each class loader: the file in the system property {@value #OVERRIDE}, else one
 * that is installed in a folder of {@code java.library.path}, else the one in the JAR.
 *
 * <p>The library from the JAR is first copied to a new file: the JVM refuses to load one file for two class loaders,
 * and Spark may have the connector in two of them.
 */
final class NativeLibrary {
  private NativeLibrary() {}

  /** System property with the path of a library to load instead of the one in the JAR. */
  static final String OVERRIDE = "io.sparkkinesis.library";
  /** System property with the folder for the library's copy; {@code java.io.tmpdir} by default. */
  static final String TEMP_DIR = "io.sparkkinesis.tempdir";
  /** File name of the library in the JAR and in a folder of {@code java.library.path}. */
  static final String FILE = "libsparkkinesis.so";

  private static final Logger LOG = LoggerFactory.getLogger(NativeLibrary.class);
  private static final Set<PosixFilePermission> OWNER_ONLY =
      EnumSet.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);
  private static final int PART = 1 << 20;

  private static boolean linked;
  private static boolean loaded;
  private static KinesisConnectorException misfit;

  /**
   * Makes the native methods callable, or throws the reason why not. The next call tries again after failures that
   * can pass: no disk space, no folder, no write permission.
   */
  static synchronized void load() {
    if (loaded) {
      return;
    }
    if (misfit != null) {
      throw new KinesisConnectorException(
          misfit.kind(), misfit.kindName(), false, misfit.getMessage(), new String[0], misfit);
    }
    if (!linked) {
      link();
      linked = true;
    }
    try {
      checkVersion();
    } catch (KinesisConnectorException e) {
      // The wrong library is loaded, and a class loader can't replace it.
      misfit = e;
      throw e;
    }
    NativeBridge.initialize(UpCalls.logLevel());
    loaded = true;
  }

  /** Like {@link #load}, and passes the current log level and system properties to native code. */
  static void loadAndFollow() {
    load();
    NativeBridge.setLogLevel(UpCalls.logLevel());
    NativeBridge.setSystemProperties(
        System.getProperty("aws.region"),
        System.getProperty("aws.accessKeyId"),
        System.getProperty("aws.secretAccessKey"),
        System.getProperty("aws.sessionToken"));
  }

  private static void link() {
    String override = System.getProperty(OVERRIDE);
    if (override != null && !override.isEmpty()) {
      Path path = Paths.get(override);
      if (!Files.isRegularFile(path)) {
        throw internal("the system property " + OVERRIDE + " names " + path + ", which is no file", null);
      }
      loadCopy(override, () -> Files.newInputStream(path));
    } else if (!linkInstalled()) {
      String resource = resource(System.getProperty("os.name"), System.getProperty("os.arch"));
      if (NativeLibrary.class.getResource(resource) == null) {
        throw unsupported("this build of the connector has no native library for this platform (" + resource
            + " is not in its JAR): take a JAR made by scripts/package");
      }
      loadCopy("the JAR's " + resource, () -> NativeLibrary.class.getResourceAsStream(resource));
    }
  }

  /** Loads a library that is installed in a folder of {@code java.library.path}; false if there is none that fits. */
  private static boolean linkInstalled() {
    for (String folder : System.getProperty("java.library.path", "").split(File.pathSeparator)) {
      File file = new File(folder, FILE).getAbsoluteFile();
      if (folder.isEmpty() || !file.isFile()) {
        continue;
      }
      try {
        if (fits(file.toPath(), NativeBridge.ABI_VERSION)) {
          System.load(file.getPath());
          return true;
        }
        LOG.warn("{} is not used: it comes from another release of the Kinesis connector than this JAR", file);
      } catch (IOException | UnsatisfiedLinkError e) {
        LOG.warn("{} is not used: {}", file, e.toString());
      }
    }
    return false;
  }

  /** Whether a library has this interface version. Reads the file for a symbol named after it, without loading it. */
  static boolean fits(Path library, int version) throws IOException {
    String symbol = "\0sparkkinesis_abi_" + version + "\0";
    try (InputStream in = Files.newInputStream(library)) {
      byte[] part = new byte[PART];
      int kept = 0;
      int length;
      while ((length = in.read(part, kept, part.length - kept)) >= 0) {
        int filled = kept + length;
        if (new String(part, 0, filled, StandardCharsets.ISO_8859_1).contains(symbol)) {
          return true;
        }
        // The symbol may begin in this part and end in the next.
        kept = Math.min(filled, symbol.length() - 1);
        System.arraycopy(part, filled - kept, part, 0, kept);
      }
      return false;
    }
  }

  /** Path of this platform's library in the JAR. */
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
    return "/io/sparkkinesis/native/linux-" + cpu + "/" + FILE;
  }

  /** Opens the library to copy. */
  @FunctionalInterface
  interface Source {
    InputStream open() throws IOException;
  }

  private static void loadCopy(String name, Source source) {
    String own = System.getProperty(TEMP_DIR, "");
    String folder = own.isEmpty() ? System.getProperty("java.io.tmpdir") : own;
    Path copy = null;
    try {
      copy = copy(source, Paths.get(folder));
      System.load(copy.toAbsolutePath().toString());
    } catch (IOException e) {
      throw internal("the native library could not be unpacked to " + folder + ": " + e
          + ". Is there room, and may this user write there? The system property " + TEMP_DIR + " (or java.io.tmpdir)"
          + " chooses another folder", e);
    } catch (UnsatisfiedLinkError e) {
      throw internal("the native library (" + name + ") could not be loaded from its copy in " + folder + ": "
          + e.getMessage() + ". If that folder is mounted noexec, choose another one with the system property "
          + TEMP_DIR + " (or java.io.tmpdir); the library needs glibc (not musl)", e);
    } finally {
      deleteQuietly(copy);
    }
  }

  /** Copies to a new file that only its owner can write, so that nobody can replace the library before it is loaded. */
  static Path copy(Source source, Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      Files.createDirectories(folder);
    }
    Path copy =
        Files.createTempFile(folder, "libsparkkinesis-", ".so", PosixFilePermissions.asFileAttribute(OWNER_ONLY));
    boolean whole = false;
    // Writes into the existing file, to keep its permissions: a replacement would get those that the umask leaves.
    try (InputStream in = source.open();
        OutputStream out = Files.newOutputStream(copy, StandardOpenOption.WRITE)) {
      byte[] part = new byte[PART];
      int length;
      while ((length = in.read(part)) >= 0) {
        out.write(part, 0, length);
      }
      whole = true;
      return copy;
    } finally {
      if (!whole) {
        deleteQuietly(copy);
      }
    }
  }

  private static void deleteQuietly(Path copy) {
    if (copy != null) {
      try {
        // Linux keeps the deleted file's content while the library is in use.
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
          + " class path, and don't set " + OVERRIDE, null);
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
