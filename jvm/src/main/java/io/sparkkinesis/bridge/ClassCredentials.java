package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisConnectorException;
import java.lang.ref.WeakReference;
import java.lang.reflect.InvocationTargetException;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.WeakHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Credentials of a class of the job: of {@code kinesis.credentialProviderClass}, made with {@code
 * kinesis.credentialProviderParam}. Native threads know nothing of the job's class loader, so it is that of the thread
 * that asks for this object.
 */
public final class ClassCredentials {
  private static final String OPTION = "kinesis.credentialProviderClass";
  private static final String HIDDEN = "*********(redacted)";

  /** By what they were made with. Held by those who use them, and only as long as they do. */
  private static final Map<ClassLoader, Map<List<String>, WeakReference<ClassCredentials>>> KNOWN =
      new WeakHashMap<>();
  private static final AtomicLong NUMBERS = new AtomicLong();

  private final long id = NUMBERS.incrementAndGet();
  private final ClassLoader loader;
  private final String className;
  private final String param;
  private Object provider;

  private ClassCredentials(ClassLoader loader, String className, String param) {
    this.loader = loader;
    this.className = className;
    this.param = param;
  }

  /**
   * Refuses a class that can't give credentials: one that isn't there, is no provider, or can't be made. Runs none of
   * its code.
   *
   * @param withParam whether a parameter is given
   */
  public static void check(String className, boolean withParam) {
    try {
      CredentialsClass.find(className, withParam, loaderOfThread());
    } catch (RefusedClassException e) {
      throw new KinesisConnectorException(
          KinesisConnectorException.INVALID_OPTION,
          "InvalidOption",
          false,
          OPTION + " " + className + ": " + e.getMessage(),
          new String[] {"option", OPTION},
          e.getCause());
    }
  }

  /**
   * Those of this class in the thread's class loader, the same ones for all who ask while they are in use.
   *
   * @param param null for none
   */
  static ClassCredentials of(String className, String param) {
    ClassLoader loader = loaderOfThread();
    synchronized (KNOWN) {
      Map<List<String>, WeakReference<ClassCredentials>> ofLoader =
          KNOWN.computeIfAbsent(loader, unknown -> new HashMap<>());
      ofLoader.values().removeIf(known -> known.get() == null);
      List<String> key = Arrays.asList(className, param);
      WeakReference<ClassCredentials> known = ofLoader.get(key);
      ClassCredentials found = known == null ? null : known.get();
      if (found == null) {
        found = new ClassCredentials(loader, className, param);
        ofLoader.put(key, new WeakReference<>(found));
      }
      return found;
    }
  }

  private static ClassLoader loaderOfThread() {
    ClassLoader loader = Thread.currentThread().getContextClassLoader();
    return loader == null ? ClassCredentials.class.getClassLoader() : loader;
  }

  /** Tells it from all others of this process. */
  long id() {
    return id;
  }

  /**
   * Asks the class.
   *
   * @return key, secret, session token or null, and end in milliseconds since 1970 or null; or where there are none two
   *     texts: why, and whether that may pass ("true")
   */
  String[] load() {
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    thread.setContextClassLoader(loader);
    try {
      return read(CredentialsClass.call(provider(), "resolveCredentials"));
    } catch (RefusedClassException e) {
      return failure(e.getMessage(), false);
    } catch (InvocationTargetException e) {
      return failure(described(e.getCause()), !(e.getCause() instanceof Error));
    } catch (ReflectiveOperationException | RuntimeException | LinkageError e) {
      return failure(described(e), false);
    } finally {
      thread.setContextClassLoader(before);
    }
  }

  private synchronized Object provider() throws RefusedClassException, ReflectiveOperationException {
    if (provider == null) {
      provider = CredentialsClass.find(className, param != null, loader).make(param);
    }
    return provider;
  }

  private static String[] read(Object credentials) throws RefusedClassException, ReflectiveOperationException {
    if (credentials == null) {
      throw new RefusedClassException("it gave null instead of credentials");
    }
    String key = text(credentials, "accessKeyId");
    String secret = text(credentials, "secretAccessKey");
    if (key == null || key.isEmpty() || secret == null || secret.isEmpty()) {
      throw new RefusedClassException("it gave credentials without a key or without its secret");
    }
    return new String[] {key, secret, text(credentials, "sessionToken"), end(credentials)};
  }

  private static String text(Object credentials, String method) throws ReflectiveOperationException {
    Object value = CredentialsClass.callIfThere(credentials, method);
    return value == null ? null : value.toString();
  }

  /** Credentials of older releases of AWS's SDK don't tell. */
  private static String end(Object credentials) throws ReflectiveOperationException {
    Object told = CredentialsClass.callIfThere(credentials, "expirationTime");
    Object end = told instanceof Optional ? ((Optional<?>) told).orElse(null) : told;
    return end instanceof Instant ? Long.toString(((Instant) end).toEpochMilli()) : null;
  }

  private static String[] failure(String why, boolean passes) {
    return new String[] {why, Boolean.toString(passes)};
  }

  /** An exception in words, but for the parameter, which may be a secret. */
  private String described(Throwable error) {
    String text = UpCalls.describe(error);
    return param == null || param.isEmpty() ? text : text.replace(param, HIDDEN);
  }

  @Override
  public String toString() {
    return "ClassCredentials(" + className + ")";
  }
}
