package org.nanomodel.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * What Linux is told about memory before it is touched (madvise(2)), since a fault a page costs
 * more than the page's contents. Other systems, and kernels that do not know an advice, go without.
 */
public final class PageAdvice {
  private static final int POPULATE_READ = 22; // since Linux 5.14
  static final FunctionDescriptor SIGNATURE =
      FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT);
  private static final MethodHandle MADVISE = find();

  private PageAdvice() {}

  private static MethodHandle find() {
    if (!System.getProperty("os.name").equals("Linux")) {
      return null;
    }
    Linker linker = Linker.nativeLinker();
    return linker
        .defaultLookup()
        .find("madvise")
        .map(address -> linker.downcallHandle(address, SIGNATURE))
        .orElse(null);
  }

  /** All pages of a mapping at once, for reading; it must begin on a page. */
  public static void populate(MemorySegment mapping) {
    advise(mapping, POPULATE_READ);
  }

  private static boolean advise(MemorySegment memory, int advice) {
    if (MADVISE == null) {
      return false;
    }
    try {
      return (int) MADVISE.invokeExact(memory, memory.byteSize(), advice) == 0;
    } catch (Throwable e) {
      throw new IllegalStateException("madvise", e);
    }
  }
}
