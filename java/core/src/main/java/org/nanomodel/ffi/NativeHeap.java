package org.nanomodel.ffi;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The heap of the C library, which confined and shared arenas take their memory from. That of glibc
 * keeps what is freed, and cuts blocks of up to 32 MB from what it keeps: after work with tensors
 * of many sizes a process holds a hundred megabytes that nobody uses.
 */
public final class NativeHeap {
  static final FunctionDescriptor SIGNATURE =
      FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG);

  private static final MethodHandle TRIM =
      Linker.nativeLinker()
          .defaultLookup()
          .find("malloc_trim")
          .map(address -> Linker.nativeLinker().downcallHandle(address, SIGNATURE))
          .orElse(null);

  private NativeHeap() {}

  /** Gives free pages back to the system; other C libraries do so by themselves, or never. */
  public static void trim() {
    if (TRIM != null) {
      try {
        int released = (int) TRIM.invokeExact(0L);
        assert released == 0 || released == 1;
      } catch (Throwable e) { // malloc_trim throws nothing
        throw new IllegalStateException(e);
      }
    }
  }
}
