package org.nanomodel.bench;

import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** One op from Java, end to end: with one short row nearly all of it is the cost of the call. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class RmsNormBenchmark {
  @Param({"1", "128"})
  int rows;

  @Param({"64", "2048"})
  int columns;

  /** A tier's name; {@code auto} is the best one of this machine. */
  @Param({"auto", "reference"})
  String tier;

  private Engine engine;
  private Arena arena;
  private Tensor x;
  private Tensor y;
  private Tensor weight;

  @Setup(Level.Trial)
  public void open() {
    engine = Engine.open(EngineOptions.defaults().withThreads(1).withTier(tier));
    arena = Arena.ofShared();
    x = Tensor.allocate(arena, DataType.F32, rows, columns);
    y = Tensor.allocate(arena, DataType.F32, rows, columns);
    weight = Tensor.allocate(arena, DataType.F32, columns);
  }

  @TearDown(Level.Trial)
  public void close() {
    engine.close();
    arena.close();
  }

  @Benchmark
  public void rmsNorm() {
    engine.ops().rmsNorm(y, x, weight, 1e-6f);
  }
}
