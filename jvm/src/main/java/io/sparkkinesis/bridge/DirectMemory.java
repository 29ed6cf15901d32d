package io.sparkkinesis.bridge;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;

/** Frees direct buffers at once; the garbage collector may not run for a long time. */
final class DirectMemory {
  private DirectMemory() {}

  private static final MethodHandle FREE = find();

  /**
   * Frees a direct buffer that is no longer in use. On a JVM without support for this, the garbage collector frees it
   * eventually.
   */
  static void free(ByteBuffer buffer) {
    if (FREE != null) {
      try {
        FREE.invokeExact(buffer);
      } catch (Throwable refused) {
        // The garbage collector frees it.
      }
    }
  }

  private static MethodHandle find() {
    try {
      Class<?> unsafe = Class.forName("sun.misc.Unsafe");
      Field instance = unsafe.getDeclaredField("theUnsafe");
      instance.setAccessible(true);
      // Exists since Java 9.
      return MethodHandles.lookup()
          .findVirtual(unsafe, "invokeCleaner", MethodType.methodType(void.class, ByteBuffer.class))
          .bindTo(instance.get(null));
    } catch (ReflectiveOperationException | RuntimeException e) {
      return null;
    }
  }
}
