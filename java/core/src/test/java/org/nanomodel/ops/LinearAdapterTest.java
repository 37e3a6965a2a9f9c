package org.nanomodel.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** y = W x + bias + scale B (A x) against sums in float64 over the same numbers. */
class LinearAdapterTest {
  private static final long[] N = {48, 17, 17}; // q, k, v side by side
  private static final int K = 70;

  /** A module: its weight, and its adapter's numbers as the kernels read them. */
  private record Module(
      FloatWeight w, Optional<LowRank> part, float[][] dense, float[][] a, float[][] b) {}

  private final Random random = new Random(5);

  private float[][] matrix(long rows, long cols, double size) {
    var m = new float[(int) rows][(int) cols];
    for (float[] row : m) {
      for (int i = 0; i < row.length; i++) {
        row[i] = (float) (random.nextGaussian() * size);
      }
    }
    return m;
  }

  private static Tensor tensor(Arena arena, float[][] m) {
    Tensor t = Tensor.allocate(arena, DataType.F32, m.length, m[0].length);
    for (int r = 0; r < m.length; r++) {
      for (int c = 0; c < m[0].length; c++) {
        t.setFloat(r, c, m[r][c]);
      }
    }
    return t;
  }

  /** A weight of a type; {@code m} becomes what is left of it there. */
  private static FloatWeight weight(Engine engine, Arena arena, float[][] m, DataType type) {
    Tensor f32 = tensor(arena, m);
    Tensor stored = Tensor.allocate(arena, type, m.length, m[0].length);
    engine.ops().convert(stored, f32);
    engine.ops().convert(f32, stored);
    for (int r = 0; r < m.length; r++) {
      for (int c = 0; c < m[0].length; c++) {
        m[r][c] = f32.getFloat(r, c);
      }
    }
    return new FloatWeight(type, m.length, m[0].length, stored.segment());
  }

  private Module module(Engine engine, Arena arena, long n, int rank, float scale, DataType type) {
    var dense = matrix(n, K, .1);
    FloatWeight w = weight(engine, arena, dense, DataType.F32);
    if (rank == 0) {
      return new Module(w, Optional.empty(), dense, null, null);
    }
    var a = matrix(rank, K, .3);
    var b = matrix(n, rank, .3);
    var part = new LowRank(weight(engine, arena, a, type), weight(engine, arena, b, type), scale);
    return new Module(w, Optional.of(part), dense, a, b);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 5, 67})
  void itIsTheDenseSumOnEveryTierAloneAndFused(int tokens) {
    for (String tier : Engine.cpu().tiers()) {
      try (var engine = Engine.open(EngineOptions.defaults().withTier(tier).withThreads(2));
          var arena = Arena.ofShared()) {
        var modules =
            List.of(
                module(engine, arena, N[0], 16, .5f, DataType.F16),
                module(engine, arena, N[1], 0, 1, DataType.F16),
                module(engine, arena, N[2], 7, 1, DataType.BF16));
        check(engine, arena, modules.subList(0, 1), tokens);
        check(engine, arena, modules.subList(1, 3), tokens);
        check(engine, arena, modules, tokens);
      }
    }
  }

  private void check(Engine engine, Arena arena, List<Module> modules, int tokens) {
    long[] n = modules.stream().mapToLong(m -> m.w().n()).toArray();
    var names = new ArrayList<String>();
    modules.forEach(m -> names.add("m" + names.size()));
    var whole = FloatWeight.concat(arena, modules.stream().map(Module::w).toList()).orElseThrow();
    float[][] bias = matrix(1, whole.n(), 1);
    float[][] x = matrix(tokens, K, 1);
    float[][] y = matrix(tokens, whole.n(), 1);
    Tensor out = tensor(arena, y);
    var adapter = LinearAdapter.pack(engine, modules.stream().map(Module::part).toList(), n);
    try (Linear linear =
        Linear.pack(engine, names, whole, tensor(arena, bias).segment(), adapter)) {
      assertThat(linear.bytes()).isGreaterThan(4 * whole.n() * K + adapter.bytes());
      engine.ops().linearAdd(out, tensor(arena, x), linear);
    }
    for (int t = 0; t < tokens; t++) {
      int at = 0;
      for (Module m : modules) {
        for (int r = 0; r < m.w().n(); r++, at++) {
          checkElement(out.getFloat(t, at), m, r, x[t], bias[0][at] + (double) y[t][at], y[t][at]);
        }
      }
    }
  }

  /**
   * The bound: each float32 sum of k products errs by gamma(k) of the sum of their magnitudes, A's
   * error goes through B, and three sums are added up (Higham 2002, 3.1).
   */
  private static void checkElement(
      float got, Module m, int row, float[] x, double start, double residual) {
    double exact = start;
    double size = Math.abs(start) + 2 * Math.abs(residual);
    for (int k = 0; k < K; k++) {
      exact += (double) m.dense()[row][k] * x[k];
      size += Math.abs((double) m.dense()[row][k] * x[k]);
    }
    int rank = m.part().isPresent() ? m.a().length : 0;
    for (int r = 0; r < rank; r++) {
      double scaled = (double) m.b()[row][r] * m.part().get().scale();
      for (int k = 0; k < K; k++) {
        exact += scaled * m.a()[r][k] * x[k];
        size += Math.abs(scaled * m.a()[r][k] * x[k]);
      }
    }
    double terms = K + rank + 6;
    double bound = terms * 0x1p-24 / (1 - terms * 0x1p-24) * size;
    assertThat((double) got).isCloseTo(exact, within(bound));
  }

  @Test
  void shapesThatDoNotFitAreRefused() {
    try (var engine = Engine.open();
        var arena = Arena.ofShared()) {
      var part = module(engine, arena, 8, 2, 1, DataType.F32).part();
      assertThatThrownBy(() -> LinearAdapter.pack(engine, List.of(part), new long[] {9}))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("another N");
      assertThat(LinearAdapter.pack(engine, List.of(Optional.empty()), new long[] {9})).isNull();
      var up = part.get().b();
      assertThatThrownBy(() -> new LowRank(up, up, 1)).hasMessageContaining("different ranks");
    }
  }
}
