package org.nanomodel.cli;

import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.Random;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * One linear layer of odd shape, against a loop in Java.
 *
 * @param kernel the one that served
 * @param maxError largest difference to the loop, which sums in float64
 * @param allowed what rounding of float32 sums can make: K * 2^-24 * max sum |x w|
 */
record SelfTest(String op, String kernel, double maxError, double allowed) {
  private static final int M = 3;
  private static final int N = 37;
  private static final int K = 129;

  static SelfTest run(Engine engine) {
    Random random = new Random(1);
    try (Arena arena = Arena.ofShared()) {
      Tensor x = Tensor.ofFloats(arena, floats(random, M * K), M, K);
      Tensor w = Tensor.ofFloats(arena, floats(random, N * K), N, K);
      Tensor y = Tensor.allocate(arena, DataType.F32, M, N);
      try (Linear linear =
          Linear.pack(
              engine, "self-test", new FloatWeight(DataType.F32, N, K, w.segment()), null)) {
        engine.ops().linear(y, x, linear);
        return compare(linear.kernel(), x, w, y);
      }
    }
  }

  private static float[] floats(Random random, int n) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static SelfTest compare(String kernel, Tensor x, Tensor w, Tensor y) {
    double error = 0;
    double size = 0;
    for (int m = 0; m < M; m++) {
      for (int n = 0; n < N; n++) {
        double sum = 0;
        double absolute = 0;
        for (int k = 0; k < K; k++) {
          double product = (double) x.getFloat(m, k) * w.getFloat(n, k);
          sum += product;
          absolute += Math.abs(product);
        }
        double off = Math.abs(sum - y.getFloat(m, n));
        error = off <= error ? error : off; // a NaN stays
        size = Math.max(size, absolute);
      }
    }
    String op = "linear f32 [%d,%d] x [%d,%d]".formatted(M, K, N, K);
    return new SelfTest(op, kernel, error, K * Math.scalb(1.0, -24) * size);
  }

  boolean passed() {
    return maxError <= allowed;
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%s: %s by %s, largest error %.1e, allowed %.1e",
        passed() ? "passed" : "FAILED",
        op,
        kernel,
        maxError,
        allowed);
  }
}
