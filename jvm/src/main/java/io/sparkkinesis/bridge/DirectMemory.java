package io.sparkkinesis.bridge;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;

/** Frees memory outside the heap without the garbage collector, which may have no reason to run for long. */
final class DirectMemory {
  private DirectMemory() {}

  private static final MethodHandle FREE = find();

  /**
   * Frees a direct buffer that nobody uses any more. Where this JVM offers no way to do so, the garbage collector does
   * it some time.
   */
  static void free(ByteBuffer buffer) {
    if (FREE != null) {
      try {
        FREE.invokeExact(buffer);
      } catch (Throwable refused) {
        // It stays the garbage collector's.
      }
    }
  }

  private static MethodHandle find() {
    try {
      Class<?> unsafe = Class.forName("sun.misc.Unsafe");
      Field instance = unsafe.getDeclaredField("theUnsafe");
      instance.setAccessible(true);
      // Since Java 9.
      return MethodHandles.lookup()
          .findVirtual(unsafe, "invokeCleaner", MethodType.methodType(void.class, ByteBuffer.class))
          .bindTo(instance.get(null));
    } catch (ReflectiveOperationException | RuntimeException e) {
      return null;
    }
  }
}
