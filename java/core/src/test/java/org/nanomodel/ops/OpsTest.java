package org.nanomodel.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nanomodel.NativeException;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The Java side of the ops: what is refused, and that arguments arrive where they belong. The
 * kernels have native tests.
 */
class OpsTest {
  private static final Engine ENGINE = Engine.open();
  private static final Ops OPS = ENGINE.ops();
  private static final Arena ARENA = Arena.ofAuto();
  private static final Random RANDOM = new Random(1);

  @AfterAll
  static void close() {
    ENGINE.close();
  }

  private static Tensor f32(long rows, long cols) {
    Tensor t = Tensor.allocate(ARENA, DataType.F32, rows, cols);
    for (long r = 0; r < rows; r++) {
      for (long c = 0; c < cols; c++) {
        t.setFloat(r, c, (float) RANDOM.nextGaussian());
      }
    }
    return t;
  }

  private static Tensor vector(int n) {
    return f32(1, n).reshape(n);
  }

  private static Linear pack(long n, long k) {
    return Linear.pack(ENGINE, "w", new FloatWeight(DataType.F32, n, k, f32(n, k).segment()), null);
  }

  @Test
  void linearMultipliesAddsBiasAndResidualThroughStrides() {
    Tensor w = f32(7, 12);
    Tensor bias = vector(7);
    Tensor x = f32(3, 20).columns(5, 12);
    Tensor y = f32(3, 9).columns(1, 7);
    float[] before = y.toFloats();
    try (Linear linear =
        Linear.pack(
            ENGINE, "a.b", new FloatWeight(DataType.F32, 7, 12, w.segment()), bias.segment())) {
      assertThat(linear.name()).isEqualTo("a.b");
      assertThat(linear.n()).isEqualTo(7);
      assertThat(linear.k()).isEqualTo(12);
      assertThat(linear.bits()).isZero();
      assertThat(linear.bytes()).isGreaterThanOrEqualTo(4 * 7 * 12);
      assertThat(linear.kernel()).isNotBlank();
      OPS.linearAdd(y, x, linear);
      for (int m = 0; m < 3; m++) {
        for (int n = 0; n < 7; n++) {
          double sum = bias.reshape(1, 7).getFloat(0, n) + before[m * 7 + n];
          for (int k = 0; k < 12; k++) {
            sum += (double) x.getFloat(m, k) * w.getFloat(n, k);
          }
          assertThat(y.getFloat(m, n)).isCloseTo((float) sum, within(1e-5f));
        }
      }
    }
  }

  @Test
  void quantizedWeightsServeEveryBitWidthAndColumnOrder() {
    for (int bits = 2; bits <= 8; bits++) {
      for (boolean order : new boolean[] {false, true}) {
        QuantizedWeight q = quantized(bits, 24, 64, 16, order);
        Tensor w = Tensor.allocate(ARENA, DataType.F32, 24, 64);
        OPS.dequantize(w, q);
        int group = order ? q.gIdx().getAtIndex(ValueLayout.JAVA_INT, 5) : 0;
        int code = q.codes().get(ValueLayout.JAVA_BYTE, 3 * 64 + 5) & 255;
        int zero = q.zeros().get(ValueLayout.JAVA_BYTE, group * 24 + 3) & 255;
        float scale = q.scales().getAtIndex(ValueLayout.JAVA_FLOAT, group * 24 + 3);
        assertThat(w.getFloat(3, 5)).isEqualTo(scale * (code - zero));

        Tensor x = f32(5, 64);
        Tensor y = Tensor.allocate(ARENA, DataType.F32, 5, 24);
        Tensor exact = Tensor.allocate(ARENA, DataType.F32, 5, 24);
        try (Linear fast = Linear.pack(ENGINE, "q", q, null);
            Linear plain =
                Linear.pack(
                    ENGINE, "f", new FloatWeight(DataType.F32, 24, 64, w.segment()), null)) {
          assertThat(fast.bits()).isEqualTo(bits);
          OPS.linear(y, x, fast);
          OPS.linear(exact, x, plain);
          float size = 0;
          for (float f : exact.toFloats()) {
            size = Math.max(size, Math.abs(f));
          }
          // near-exact integer kernels: activations rounded to 16 bits or better
          assertThat(y.toFloats())
              .as("%d bits, order %s", bits, order)
              .containsExactly(exact.toFloats(), within(1e-3f * size));
        }
      }
    }
  }

  private static QuantizedWeight quantized(int bits, int n, int k, int groupSize, boolean order) {
    MemorySegment gIdx = null;
    if (order) {
      gIdx =
          Tensor.ofInts(ARENA, IntStream.range(0, k).map(i -> i * 7 % k / groupSize).toArray())
              .segment();
    }
    QuantizedWeight q = QuantizedWeight.allocate(ARENA, bits, n, k, groupSize, gIdx);
    for (long i = 0; i < (long) n * k; i++) {
      q.codes().set(ValueLayout.JAVA_BYTE, i, (byte) RANDOM.nextInt(1 << bits));
    }
    for (long i = 0; i < q.groups() * n; i++) {
      q.scales().setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.01f + RANDOM.nextFloat() / 10);
      q.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) RANDOM.nextInt(1, 1 << bits));
    }
    return q;
  }

  @Test
  void gptqPackAndUnpackAreInverse() {
    var layouts =
        List.of(
            GptqLayout.V1,
            GptqLayout.V2,
            new GptqLayout(DataType.I16, false, 1),
            new GptqLayout(DataType.I8, false, 0),
            new GptqLayout(DataType.I32, true, 0));
    for (int bits = 2; bits <= 8; bits++) {
      for (GptqLayout layout : layouts) {
        QuantizedWeight q = quantized(bits, 40, 72, 16, false);
        Tensor qweight = Tensor.allocate(ARENA, layout.words(), layout.words(72, bits), 40);
        Tensor qzeros = Tensor.allocate(ARENA, layout.words(), 5, layout.words(40, bits));
        OPS.gptqPack(qweight, qzeros, q, layout);
        QuantizedWeight back = QuantizedWeight.allocate(ARENA, bits, 40, 72, 16, null);
        OPS.gptqUnpack(back, qweight, qzeros, layout);
        assertThat(back.codes().mismatch(q.codes())).isEqualTo(-1);
        assertThat(back.zeros().mismatch(q.zeros())).isEqualTo(-1);
        q.zeros().set(ValueLayout.JAVA_BYTE, 0, (byte) 0);
        if (layout.zeroOffset() == 1) {
          assertThatThrownBy(() -> OPS.gptqPack(qweight, qzeros, q, layout))
              .isInstanceOfSatisfying(
                  NativeException.class,
                  e -> assertThat(e.code()).isEqualTo(NativeException.ARGUMENT));
        }
      }
    }
  }

  @Test
  void awqPackAndUnpackAreInverse() {
    QuantizedWeight q = quantized(4, 40, 64, 16, false);
    Tensor qweight = Tensor.allocate(ARENA, DataType.I32, 64, 5);
    Tensor qzeros = Tensor.allocate(ARENA, DataType.I32, 4, 5);
    OPS.awqPack(qweight, qzeros, q);
    QuantizedWeight back = QuantizedWeight.allocate(ARENA, 4, 40, 64, 16, null);
    OPS.awqUnpack(back, qweight, qzeros);
    assertThat(back.codes().mismatch(q.codes())).isEqualTo(-1);
    assertThat(back.zeros().mismatch(q.zeros())).isEqualTo(-1);
  }

  @Test
  void concatLaysWeightsBelowEachOther() {
    QuantizedWeight a = quantized(4, 8, 64, 16, true);
    QuantizedWeight b = quantized(4, 16, 64, 16, true);
    QuantizedWeight ab = QuantizedWeight.concat(ARENA, List.of(a, b)).orElseThrow();
    Tensor whole = Tensor.allocate(ARENA, DataType.F32, 24, 64);
    OPS.dequantize(whole, ab);
    OPS.dequantize(Tensor.of(DataType.F32, whole.segment(), 8, 64), a);
    float[] top = whole.toFloats();
    Tensor below = Tensor.allocate(ARENA, DataType.F32, 16, 64);
    OPS.dequantize(below, b);
    Tensor again = Tensor.allocate(ARENA, DataType.F32, 24, 64);
    OPS.dequantize(again, ab);
    assertThat(again.toFloats()).isEqualTo(top);
    assertThat(again.rows(8, 16).toFloats()).isEqualTo(below.toFloats());

    assertThat(QuantizedWeight.concat(ARENA, List.of(a, quantized(3, 8, 64, 16, true)))).isEmpty();
    assertThat(QuantizedWeight.concat(ARENA, List.of(a, quantized(4, 8, 64, 32, true)))).isEmpty();
    assertThat(QuantizedWeight.concat(ARENA, List.of(a, quantized(4, 8, 64, 16, false)))).isEmpty();
    QuantizedWeight otherOrder = quantized(4, 8, 64, 16, true);
    otherOrder.gIdx().setAtIndex(ValueLayout.JAVA_INT, 0, 3);
    assertThat(QuantizedWeight.concat(ARENA, List.of(a, otherOrder))).isEmpty();
  }

  @Test
  void roundToNearestFillsCodesScalesAndZeros() {
    Tensor w = f32(4, 32);
    QuantizedWeight q = QuantizedWeight.allocate(ARENA, 8, 4, 32, 16, null);
    OPS.rtn(q, w, Symmetry.ZERO_POINT, DataType.F32);
    Tensor back = Tensor.allocate(ARENA, DataType.F32, 4, 32);
    OPS.dequantize(back, q);
    float step = 0;
    for (int i = 0; i < 8; i++) {
      step = Math.max(step, q.scales().getAtIndex(ValueLayout.JAVA_FLOAT, i));
    }
    assertThat(back.toFloats()).containsExactly(w.toFloats(), within(step * 0.5001f));
    w.setFloat(2, 3, Float.NaN);
    assertThatThrownBy(() -> OPS.rtn(q, w, Symmetry.ZERO_POINT, DataType.F32))
        .isInstanceOf(NativeException.class);
  }

  @Test
  void samplingReturnsIdsAndTheirLogProbabilities() {
    Tensor logits = Tensor.ofFloats(ARENA, new float[] {0, 1, 3, 2, 5, -1, 4, 4}, 2, 4);
    Tensor ids = Tensor.allocate(ARENA, DataType.I32, 2);
    Tensor logprobs = Tensor.allocate(ARENA, DataType.F32, 2);
    OPS.sample(ids, logits, Sampling.GREEDY, null, logprobs);
    assertThat(ids.toInts()).containsExactly(2, 0);
    double sum = Math.exp(0) + Math.exp(1) + Math.exp(3) + Math.exp(2);
    assertThat(logprobs.reshape(1, 2).getFloat(0, 0))
        .isCloseTo((float) (3 - Math.log(sum)), within(1e-5f));
    Tensor uniform = Tensor.ofFloats(ARENA, new float[] {0.999f, 0.999f}, 2);
    OPS.sample(ids, logits, new Sampling(1, 2, 1, 0), uniform, null);
    assertThat(ids.toInts())
        .as("the second of the two largest; equal ones by id")
        .containsExactly(3, 2);

    Tensor nll = Tensor.allocate(ARENA, DataType.F64, 2);
    OPS.nll(nll, logits, Tensor.ofInts(ARENA, new int[] {2, 0}));
    assertThat(nll.segment().getAtIndex(ValueLayout.JAVA_DOUBLE, 0))
        .isCloseTo(Math.log(sum) - 3, within(1e-6));
  }

  record Wrong(String name, String message, Executable call) {
    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Wrong> wrongShapes() {
    Tensor x = f32(3, 8);
    Tensor small = f32(3, 7);
    Tensor ids = Tensor.ofInts(ARENA, new int[] {0, 1, 2});
    Tensor half = Tensor.allocate(ARENA, DataType.F16, 3, 8);
    Linear w = pack(5, 8);
    var batch = new BatchDescriptor(ARENA, 4, 1, 1);
    batch.add(new int[] {0}, 1, 0, 3);
    var kv =
        new KvLayer(
            ARENA,
            Tensor.allocate(ARENA, DataType.F32, 1, 1, 4, 16),
            Tensor.allocate(ARENA, DataType.F32, 1, 1, 16, 4));
    var table = new RopeTable(ARENA, new float[] {1, 1, 1, 1, 1}, 1, false, 2);
    QuantizedWeight q = quantized(4, 8, 32, 16, false);
    return Stream.of(
        new Wrong(
            "linear x",
            "linear: x is F32[3, 7], expected F32[3, 8]",
            () -> OPS.linear(f32(3, 5), small, w)),
        new Wrong("linear y", "linear: y is F32[3, 7]", () -> OPS.linear(small, x, w)),
        new Wrong("linear type", "linear: x is F16[3, 8]", () -> OPS.linear(f32(3, 5), half, w)),
        new Wrong("linear residual", "linear: residual", () -> OPS.linear(f32(3, 5), x, w, x)),
        new Wrong("convert count", "convert:", () -> OPS.convert(small, x)),
        new Wrong("convert strided", "convert:", () -> OPS.convert(f32(3, 4), x.columns(0, 4))),
        new Wrong("convert integers", "not a float type", () -> OPS.convert(vector(3), ids)),
        new Wrong("embedding ids", "embedding: ids", () -> OPS.embedding(f32(2, 8), x, ids)),
        new Wrong("embedding y", "embedding: y", () -> OPS.embedding(small, x, ids)),
        new Wrong("norm weight", "rmsNorm: weight", () -> OPS.rmsNorm(x, x, vector(7), 1e-6f)),
        new Wrong("norm heads", "rmsNorm: heads", () -> OPS.rmsNorm(x, x, 3, vector(8), 1e-6f)),
        new Wrong("norm y", "rmsNorm: y", () -> OPS.rmsNorm(small, x, vector(8), 1e-6f)),
        new Wrong(
            "layer norm bias",
            "layerNorm: bias",
            () -> OPS.layerNorm(x, x, vector(8), vector(7), 1e-6f)),
        new Wrong(
            "rope table rows", "ropeTable: the table holds 2", () -> OPS.ropeTable(table, batch)),
        new Wrong("rope rows", "rope: more rows", () -> OPS.rope(x, 1, table)),
        new Wrong("rope width", "rope: the table is wider", () -> OPS.rope(x.rows(0, 2), 1, table)),
        new Wrong("kv key", "kvAppend: key", () -> OPS.kvAppend(kv, x, f32(3, 4), batch)),
        new Wrong(
            "kv value", "kvAppend: value", () -> OPS.kvAppend(kv, f32(3, 4), f32(2, 4), batch)),
        new Wrong("attention q", "attention: q", () -> OPS.attention(x, small, kv, batch, 2, 1, 0)),
        new Wrong("attention y", "attention: y", () -> OPS.attention(small, x, kv, batch, 2, 1, 0)),
        new Wrong("activate", "activate: y", () -> OPS.activate(small, Activation.RELU, x)),
        new Wrong("activate up", "activate: up", () -> OPS.siluMul(x, small)),
        new Wrong("softmax", "softmax: y", () -> OPS.softmax(small, x, 1)),
        new Wrong(
            "sample ids",
            "sample: ids",
            () -> OPS.sample(vector(3), x, Sampling.GREEDY, null, null)),
        new Wrong(
            "sample uniform",
            "sample: uniform",
            () -> OPS.sample(ids, x, Sampling.GREEDY, vector(2), null)),
        new Wrong(
            "nll targets",
            "nll: targets",
            () -> OPS.nll(Tensor.allocate(ARENA, DataType.F64, 3), x, vector(3))),
        new Wrong("rtn", "rtn: w", () -> OPS.rtn(q, x, Symmetry.SYMMETRIC, DataType.F32)),
        new Wrong("dequantize", "dequantize: w", () -> OPS.dequantize(x, q)),
        new Wrong("gptq", "gptqUnpack: qweight", () -> OPS.gptqUnpack(q, ids, ids, GptqLayout.V1)),
        new Wrong("awq", "awqUnpack: qweight", () -> OPS.awqUnpack(q, ids, ids)),
        new Wrong("bits", "bits = 9", () -> QuantizedWeight.allocate(ARENA, 9, 8, 32, 16, null)),
        new Wrong(
            "group", "group size 33", () -> QuantizedWeight.allocate(ARENA, 4, 8, 32, 33, null)),
        new Wrong("bias", "bias of [w]", () -> Linear.pack(ENGINE, "w", q, vector(7).segment())),
        new Wrong(
            "float data", "data needs", () -> new FloatWeight(DataType.F32, 9, 32, q.codes())),
        new Wrong("batch full", "batch is full", () -> batch.add(new int[] {0}, 1, 0, 1)));
  }

  @ParameterizedTest
  @MethodSource("wrongShapes")
  void wrongShapesAreRefusedBeforeTheCall(Wrong wrong) {
    assertThatThrownBy(wrong.call()::execute)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(wrong.message());
  }

  @Test
  void whatOnlyTheKernelSeesIsRefusedByIt() {
    Tensor table = f32(4, 8);
    assertThatThrownBy(() -> OPS.embedding(f32(1, 8), table, Tensor.ofInts(ARENA, new int[] {4})))
        .isInstanceOf(NativeException.class)
        .hasMessageContaining("4");
    Tensor y;
    try (var arena = Arena.ofConfined()) {
      y = Tensor.allocate(arena, DataType.F32, 3, 8);
    }
    assertThatThrownBy(() -> OPS.softmax(y, f32(3, 8), 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("was closed");
  }
}
