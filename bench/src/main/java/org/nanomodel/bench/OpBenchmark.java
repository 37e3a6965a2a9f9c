package org.nanomodel.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.infra.BenchmarkParams;

/**
 * One op through Java, on an engine of {@link EngineOptions#defaults()}. The limit of its work is
 * measured in the same process after each iteration; the median is left for {@link Main} to print.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public abstract class OpBenchmark {
  Engine engine;
  Ops ops;
  Arena arena;
  private Work work;
  private Roofs roofs;
  private final List<Roofs.Limit> limits = new ArrayList<>();

  /** Allocates, and says what a call does. */
  abstract Work prepare(String benchmark);

  @Setup(Level.Trial)
  public void open(BenchmarkParams params) {
    engine = Engine.open(EngineOptions.defaults());
    ops = engine.ops();
    arena = Arena.ofShared();
    work = prepare(params.getBenchmark());
    roofs = new Roofs(engine.threads(), engine.tier(), work);
    limits.clear();
  }

  /** After each iteration: a busy machine then slows both alike. */
  @TearDown(Level.Iteration)
  public void measureLimit() {
    limits.add(roofs.limit(work));
  }

  @TearDown(Level.Trial)
  public void close(BenchmarkParams params) throws java.io.IOException {
    limits.sort(Comparator.comparingDouble(Roofs.Limit::seconds));
    Limits.record(params, limits.get(limits.size() / 2), engine);
    roofs.close();
    engine.close();
    arena.close();
  }

  Tensor zeros(long... shape) {
    return Tensor.allocate(arena, DataType.F32, shape);
  }

  /** Normal numbers, the same ones in each run. */
  Tensor normals(long... shape) {
    Tensor t = zeros(shape);
    var random = new Random(3);
    MemorySegment data = t.segment();
    for (long i = 0; i < data.byteSize() / 4; i++) {
      data.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
    }
    return t;
  }
}
