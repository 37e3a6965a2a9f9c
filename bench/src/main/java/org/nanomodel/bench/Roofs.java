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
 * What this machine gives in this moment and process: reads from memory and fused multiply-adds,
 * over as many threads and in pieces as long as the calls they are compared with. From
 * bench/native/roofs.cc, built beside the library.
 */
final class Roofs implements AutoCloseable {
  private static final List<String> TIERS = List.of("reference", "avx2", "avx512");
  private static final double SAMPLED_SECONDS = 0.2;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE;

  private final Arena arena = Arena.ofConfined();
  private final MethodHandle destroy;
  private final MethodHandle read;
  private final MethodHandle fma;
  private final MemorySegment handle;

  Roofs(int threads, String tier) {
    Path file = Version.library().resolveSibling(System.mapLibraryName("nanomodel_roofs"));
    SymbolLookup library = SymbolLookup.libraryLookup(file, arena);
    var pointer = ValueLayout.ADDRESS;
    MethodHandle create =
        function(library, "nmbench_roofs_create", FunctionDescriptor.of(pointer, INT, INT));
    destroy = function(library, "nmbench_roofs_destroy", FunctionDescriptor.ofVoid(pointer));
    read =
        function(
            library,
            "nmbench_read_roof",
            FunctionDescriptor.of(DOUBLE, pointer, pointer, LONG, LONG, LONG));
    fma =
        function(library, "nmbench_fma_roof", FunctionDescriptor.of(DOUBLE, pointer, DOUBLE, LONG));
    handle = (MemorySegment) call(() -> create.invoke(threads, TIERS.indexOf(tier)));
    if (handle.address() == 0) {
      throw new IllegalStateException("no roofs for " + threads + " threads, tier " + tier);
    }
  }

  private static MethodHandle function(SymbolLookup library, String name, FunctionDescriptor type) {
    return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), type);
  }

  /** The least seconds that the work can take here, and what holds it there. */
  Limit limit(Work work) {
    double reading = work.bytes() / read(work);
    if (work.flops() == 0) {
      return new Limit(reading, "read");
    }
    double multiplying = work.flops() / fma(work.flops());
    return multiplying > reading ? new Limit(multiplying, "FMA") : new Limit(reading, "read");
  }

  /**
   * A lower bound.
   *
   * @param by "read" or "FMA"
   */
  record Limit(double seconds, String by) {}

  private double read(Work work) {
    long piece = (long) work.bytes();
    try (var memory = Arena.ofShared()) {
      long all = Math.max(piece, (long) work.rotated());
      MemorySegment from = memory.allocate(all, 64).fill((byte) 1);
      double once = piece / (double) call(() -> read.invoke(handle, from, all, piece, 3L));
      return (double) call(() -> read.invoke(handle, from, all, piece, samples(once)));
    }
  }

  private double fma(double flops) {
    double once = flops / (double) call(() -> fma.invoke(handle, flops, 3L));
    return (double) call(() -> fma.invoke(handle, flops, samples(once)));
  }

  private static long samples(double seconds) {
    return Math.clamp((long) (SAMPLED_SECONDS / seconds), 9, 100_001);
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
