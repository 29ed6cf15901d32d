package io.sparkkinesis.bridge;

import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * A class that provides credentials, and the way to create an instance. All access is by name: the connector doesn't
 * depend on AWS's SDK, and where Spark loads users' classes first, the class may see another copy of the connector's
 * own interface.
 */
final class CredentialsClass {
  /** The provider interfaces. Their methods, and those of the credentials they return, have the same names. */
  private static final List<String> INTERFACES =
      Arrays.asList(
          "software.amazon.awssdk.auth.credentials.AwsCredentialsProvider",
          "io.sparkkinesis.KinesisCredentialsProvider");

  /** Creates an instance. */
  private interface Way {
    Object make(String param) throws ReflectiveOperationException;
  }

  private final Way way;

  private CredentialsClass(Way way) {
    this.way = way;
  }

  /** Finds the class and the way to create an instance, without running any of its code. */
  static CredentialsClass find(String name, boolean withParam, ClassLoader loader) throws RefusedClassException {
    Class<?> type;
    try {
      type = Class.forName(name, false, loader);
    } catch (ClassNotFoundException e) {
      throw new RefusedClassException(
          "there is no such class. Put its JAR on the class path of driver and executors (--jars, spark.jars)", e);
    } catch (LinkageError e) {
      throw new RefusedClassException("it can't be loaded: " + e, e);
    }
    try {
      if (!isProvider(type)) {
        throw new RefusedClassException("it is neither a " + INTERFACES.get(0) + " nor a " + INTERFACES.get(1));
      }
      Way way = withParam ? withParam(type) : withoutParam(type);
      if (way == null) {
        throw new RefusedClassException(
            withParam
                ? "it has neither a public constructor nor a public static create that takes one String: remove"
                    + " kinesis.credentialProviderParam, or name another class"
                : "it has neither a public static create() or builder(), nor a public constructor without"
                    + " parameters; a class that takes one String needs kinesis.credentialProviderParam");
      }
      return new CredentialsClass(way);
    } catch (LinkageError e) {
      throw new RefusedClassException("what it needs isn't on the class path: " + e, e);
    }
  }

  /** Creates an instance. An exception of the class's own code is the cause of an InvocationTargetException. */
  Object make(String param) throws RefusedClassException, ReflectiveOperationException {
    Object made = way.make(param);
    if (made == null || !isProvider(made.getClass())) {
      throw new RefusedClassException("what it made of itself is no provider of credentials");
    }
    return made;
  }

  private static Way withParam(Class<?> type) {
    Constructor<?> constructor = constructor(type, String.class);
    if (constructor != null) {
      return constructor::newInstance;
    }
    Method create = maker(type, "create", String.class);
    return create == null ? null : param -> create.invoke(null, param);
  }

  private static Way withoutParam(Class<?> type) {
    Method create = maker(type, "create");
    if (create != null) {
      return param -> create.invoke(null);
    }
    Method builder = maker(type, "builder");
    if (builder != null && method(builder.getReturnType(), "build") != null) {
      return param -> call(builder.invoke(null), "build");
    }
    Constructor<?> constructor = constructor(type);
    return constructor == null ? null : param -> constructor.newInstance();
  }

  private static Constructor<?> constructor(Class<?> type, Class<?>... parameters) {
    if (Modifier.isAbstract(type.getModifiers()) || !Modifier.isPublic(type.getModifiers())) {
      return null;
    }
    try {
      return type.getConstructor(parameters);
    } catch (NoSuchMethodException e) {
      return null;
    }
  }

  private static Method maker(Class<?> type, String name, Class<?>... parameters) {
    try {
      Method method = type.getMethod(name, parameters);
      return Modifier.isStatic(method.getModifiers()) && Modifier.isPublic(method.getDeclaringClass().getModifiers())
          ? method
          : null;
    } catch (NoSuchMethodException e) {
      return null;
    }
  }

  private static boolean isProvider(Class<?> type) {
    return typesOf(type).stream().anyMatch(known -> INTERFACES.contains(known.getName()));
  }

  /** Calls a public method without parameters. Its exception is the cause of an InvocationTargetException. */
  static Object call(Object target, String name) throws ReflectiveOperationException {
    Method method = method(target.getClass(), name);
    if (method == null) {
      throw new NoSuchMethodException(target.getClass().getName() + "." + name + "()");
    }
    return method.invoke(target);
  }

  /** Like {@link #call}, but returns null if there is no such method. */
  static Object callIfThere(Object target, String name) throws ReflectiveOperationException {
    Method method = method(target.getClass(), name);
    return method == null ? null : method.invoke(target);
  }

  /** The method as declared by a public class or interface, since the object's own class may not be public. */
  private static Method method(Class<?> type, String name) {
    for (Class<?> known : typesOf(type)) {
      if (Modifier.isPublic(known.getModifiers())) {
        try {
          Method method = known.getMethod(name);
          if (Modifier.isPublic(method.getDeclaringClass().getModifiers())) {
            return method;
          }
        } catch (NoSuchMethodException e) {
          // The next type may have it.
        }
      }
    }
    return null;
  }

  /** The class, its superclasses, and all their interfaces. */
  private static Set<Class<?>> typesOf(Class<?> type) {
    Set<Class<?>> all = new LinkedHashSet<>();
    for (Class<?> current = type; current != null; current = current.getSuperclass()) {
      all.add(current);
      addInterfaces(current, all);
    }
    return all;
  }

  private static void addInterfaces(Class<?> type, Set<Class<?>> all) {
    for (Class<?> implemented : type.getInterfaces()) {
      if (all.add(implemented)) {
        addInterfaces(implemented, all);
      }
    }
  }
}
