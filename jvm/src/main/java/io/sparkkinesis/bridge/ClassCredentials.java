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
 * Credentials from the job's {@code kinesis.credentialProviderClass}, constructed with {@code
 * kinesis.credentialProviderParam}. Native threads have no access to the job's class loader, so this object keeps that
 * of the thread that requested it.
 */
public final class ClassCredentials {
  private static final String OPTION = "kinesis.credentialProviderClass";
  private static final String HIDDEN = "*********(redacted)";

  /** Live instances by class name and parameter. Weak references: only their users keep them alive. */
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
   * Refuses a class that is missing, is no provider, or has no usable constructor or factory method. Runs none of its
   * code.
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
   * The credentials of a class in the thread's class loader. All callers share one instance while it is in use.
   *
   * @param param the class's parameter, or null
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

  /** Unique in this process. */
  long id() {
    return id;
  }

  /**
   * Gets credentials from the class.
   *
   * @return four strings: key, secret, session token or null, and expiration in milliseconds since 1970 or null; after
   *     a failure two strings: the reason, and "true" if a retry may succeed
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

  /** Expiration in milliseconds since 1970; null if unknown, as in older releases of AWS's SDK. */
  private static String end(Object credentials) throws ReflectiveOperationException {
    Object expiration = CredentialsClass.callIfThere(credentials, "expirationTime");
    Object end = expiration instanceof Optional ? ((Optional<?>) expiration).orElse(null) : expiration;
    return end instanceof Instant ? Long.toString(((Instant) end).toEpochMilli()) : null;
  }

  private static String[] failure(String why, boolean passes) {
    return new String[] {why, Boolean.toString(passes)};
  }

  /** An exception as text, with the parameter redacted, since it may be a secret. */
  private String described(Throwable error) {
    String text = UpCalls.describe(error);
    return param == null || param.isEmpty() ? text : text.replace(param, HIDDEN);
  }

  @Override
  public String toString() {
    return "ClassCredentials(" + className + ")";
  }
}
