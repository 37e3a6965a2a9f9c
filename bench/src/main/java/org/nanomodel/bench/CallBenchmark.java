package org.nanomodel.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.NanoModelH;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/**
 * What it costs to call native code at all: {@code nm_abi_version} writes two numbers. A critical
 * call keeps the thread in the Java state, so that a collection waits for it: only for calls surely
 * under 10 microseconds.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class CallBenchmark {
  private static final MethodHandle CRITICAL;

  static {
    Native.load();
    CRITICAL =
        Linker.nativeLinker()
            .downcallHandle(
                NanoModelH.nm_abi_version$address(),
                NanoModelH.nm_abi_version$descriptor(),
                Linker.Option.critical(false));
  }

  private final MemorySegment major = Arena.global().allocate(8, 8);
  private final MemorySegment minor = major.asSlice(4);

  @Benchmark
  public int plain() {
    return NanoModelH.nm_abi_version(major, minor);
  }

  @Benchmark
  public int critical() throws Throwable {
    return (int) CRITICAL.invokeExact(major, minor);
  }
}
