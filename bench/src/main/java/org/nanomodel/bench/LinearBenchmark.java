package org.nanomodel.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.TearDown;

/**
 * y[M,2048] = x[M,8192] W^T, the down projection of Llama 3.2 1B. Calls take turns in copies of the
 * weight that together exceed the caches, as the layers of a model do.
 */
public class LinearBenchmark extends OpBenchmark {
  private static final int N = 2048;
  private static final int K = 8192;
  private static final int GROUP = 128;
  private static final long ROTATED = 160L << 20;

  @Param({"f32", "bf16", "i8", "i4"})
  String weight;

  @Param({"1", "16"})
  int m;

  private Linear[] copies;
  private int at;
  private Tensor x;
  private Tensor y;

  @Override
  Work prepare(String benchmark) {
    x = normals(m, K);
    y = zeros(m, N);
    try (var scratch = Arena.ofShared()) {
      WeightData data = data(scratch);
      Linear first = Linear.pack(engine, "w", data, null);
      copies = new Linear[(int) Math.ceilDiv(ROTATED, first.bytes())];
      copies[0] = first;
      for (int i = 1; i < copies.length; i++) {
        copies[i] = Linear.pack(engine, "w", data, null);
      }
      double bytes = first.bytes() + 4.0 * m * (N + K);
      return new Work(Traffic.READ, bytes, bytes * copies.length, 2.0 * m * N * K);
    }
  }

  private WeightData data(Arena scratch) {
    var random = new Random(1);
    if (weight.startsWith("i")) {
      int bits = weight.charAt(1) - '0';
      var q = QuantizedWeight.allocate(scratch, bits, N, K, GROUP, null);
      for (long i = 0; i < q.codes().byteSize(); i++) {
        q.codes().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(1 << bits));
      }
      for (long i = 0; i < q.scales().byteSize() / 4; i++) {
        q.scales().setAtIndex(ValueLayout.JAVA_FLOAT, i, 0x1p-7f);
      }
      q.zeros().fill((byte) (1 << bits - 1));
      return q;
    }
    boolean wide = weight.equals("f32");
    MemorySegment w = scratch.allocate((wide ? 4L : 2L) * N * K, 64);
    for (long i = 0; i < (long) N * K; i++) {
      float value = 0x1p-8f * (1 + random.nextInt(256));
      if (wide) {
        w.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
      } else {
        w.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
      }
    }
    return new FloatWeight(wide ? DataType.F32 : DataType.BF16, N, K, w);
  }

  @Benchmark
  public void linear() {
    ops.linear(y, x, copies[at]);
    at = at + 1 == copies.length ? 0 : at + 1;
  }

  @TearDown(Level.Trial)
  public void closeCopies() {
    for (Linear copy : copies) {
      copy.close();
    }
  }
}
