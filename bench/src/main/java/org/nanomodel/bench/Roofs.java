package org.nanomodel.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import org.nanomodel.Version;

/**
 * What this machine gives in this moment and process: plain loops over memory, in the cache that it
 * fits in, and fused multiply-adds, over as many threads as the calls they are compared with. From
 * bench/native/roofs.cc, built beside the library.
 */
final class Roofs implements AutoCloseable {
  private static final List<String> TIERS =
      List.of(
          "reference",
          "avx2",
          "avx2_vnni",
          "avx512",
          "avx512_vnni",
          "neon",
          "neon_dot",
          "neon_i8mm",
          "avx512_amx");
  private static final double SAMPLED_SECONDS = 0.05;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE;

  private final Arena arena = Arena.ofShared();
  private final MethodHandle destroy;
  private final MethodHandle rate;
  private final MethodHandle fma;
  private final MemorySegment handle;
  private final MemorySegment memory;

  Roofs(int threads, String tier, Work work) {
    Path file = Version.library().resolveSibling(System.mapLibraryName("nanomodel_roofs"));
    SymbolLookup library = SymbolLookup.libraryLookup(file, arena);
    var pointer = ValueLayout.ADDRESS;
    MethodHandle create =
        function(library, "nmbench_roofs_create", FunctionDescriptor.of(pointer, INT, INT));
    destroy = function(library, "nmbench_roofs_destroy", FunctionDescriptor.ofVoid(pointer));
    rate =
        function(
            library,
            "nmbench_rate",
            FunctionDescriptor.of(DOUBLE, pointer, INT, pointer, LONG, DOUBLE));
    fma = function(library, "nmbench_fma_rate", FunctionDescriptor.of(DOUBLE, pointer, DOUBLE));
    handle = (MemorySegment) call(() -> create.invoke(threads, TIERS.indexOf(tier)));
    if (handle.address() == 0) {
      throw new IllegalStateException("no roofs for " + threads + " threads, tier " + tier);
    }
    memory = arena.allocate((long) work.memory(), 64).fill((byte) 1);
  }

  private static MethodHandle function(SymbolLookup library, String name, FunctionDescriptor type) {
    return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), type);
  }

  /** The least seconds that the work can take here, and what holds it there. */
  Limit limit(Work work) {
    double moving = work.bytes() / rate(work);
    double multiplying = work.flops() == 0 ? 0 : work.flops() / fma();
    return multiplying > moving
        ? new Limit(multiplying, "FMA")
        : new Limit(moving, work.traffic().toString());
  }

  /**
   * A lower bound.
   *
   * @param by a {@link Traffic} or "FMA"
   */
  record Limit(double seconds, String by) {}

  private double rate(Work work) {
    long bytes = memory.byteSize();
    int traffic = work.traffic().ordinal();
    return (double) call(() -> rate.invoke(handle, traffic, memory, bytes, SAMPLED_SECONDS));
  }

  private double fma() {
    return (double) call(() -> fma.invoke(handle, SAMPLED_SECONDS));
  }

  private interface Invocation {
    Object run() throws Throwable;
  }

  private static Object call(Invocation invocation) {
    try {
      return invocation.run();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    call(() -> destroy.invoke(handle));
    arena.close();
  }
}
