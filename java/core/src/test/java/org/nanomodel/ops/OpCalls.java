package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** One good call of every method of {@link Ops}, argument by argument: what faults are made of. */
final class OpCalls {
  private OpCalls() {}

  /** A method by name, with arguments whose memory is the given arena's. */
  record Call(String method, Function<Arena, List<Argument>> arguments) {
    @Override
    public String toString() {
      return method;
    }
  }

  /**
   * @param name as errors have it; "a|b" = either
   * @param optional null is fine
   * @param written by the call
   * @param free "rows" or "columns": fewer are fine
   * @param wrong values of this argument to be refused, beside those that its type suggests
   */
  record Argument(
      String name,
      Object good,
      boolean optional,
      boolean written,
      String free,
      List<Object> wrong) {
    Argument orNull() {
      return new Argument(name, good, true, written, free, wrong);
    }

    Argument anyColumns() {
      return new Argument(name, good, optional, written, "columns", wrong);
    }

    Argument anyRows() {
      return new Argument(name, good, optional, written, "rows", wrong);
    }
  }

  private static Argument in(String name, Object good, Object... wrong) {
    return new Argument(name, good, false, false, "", List.of(wrong));
  }

  private static Argument out(String name, Object good, Object... wrong) {
    return new Argument(name, good, false, true, "", List.of(wrong));
  }

  private static Call call(String method, Function<Arena, List<Argument>> arguments) {
    return new Call(method, arguments);
  }

  static List<Call> all(Engine engine) {
    Linear w =
        Linear.pack(
            engine,
            "w",
            new FloatWeight(DataType.F32, 6, 8, f32(Arena.ofAuto(), 6, 8).segment()),
            null);
    Object[] noEps = {-1f, Float.NaN};
    Object[] noHeads = {0, -1, 3, Integer.MIN_VALUE, Integer.MAX_VALUE};
    return List.of(
        call("convert", a -> List.of(out("y", of(a, DataType.F16, 3, 8)), in("x", f32(a, 3, 8)))),
        call(
            "linear",
            a ->
                List.of(
                    out("y", f32(a, 3, 6)),
                    in("x", f32(a, 3, 8)),
                    in("w", w),
                    in("residual", f32(a, 3, 6)).orNull())),
        call("linear", a -> List.of(out("y", f32(a, 3, 6)), in("x", f32(a, 3, 8)), in("w", w))),
        call("linearAdd", a -> List.of(out("y", f32(a, 3, 6)), in("x", f32(a, 3, 8)), in("w", w))),
        call(
            "embedding",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("table", f32(a, 9, 8)).anyRows(),
                    in("ids", ints(a, 1, 0, 7), ints(a, 1, -1, 2), ints(a, 1, 9, 2)))),
        call(
            "embedding",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("table", f32(a, 9, 8)).anyRows(),
                    in("ids", ints(a, 1, 0, 7), ints(a, 1, -1, 2), ints(a, 1, 9, 2)),
                    in("residual", f32(a, 3, 8)).orNull())),
        call(
            "embeddingAdd",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("table", f32(a, 9, 8)).anyRows(),
                    in("ids", ints(a, 1, 0, 7), ints(a, 1, -1, 2), ints(a, 1, 9, 2)))),
        call(
            "rmsNorm",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("x", f32(a, 3, 8)),
                    in("weight", vector(a, 8)),
                    in("eps", 1e-5f, noEps))),
        call(
            "rmsNorm",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("x", f32(a, 3, 8)),
                    in("heads", 2, noHeads),
                    in("weight", vector(a, 4)),
                    in("eps", 1e-5f, noEps))),
        call(
            "layerNorm",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("x", f32(a, 3, 8)),
                    in("weight", vector(a, 8)).orNull(),
                    in("bias", vector(a, 8)).orNull(),
                    in("eps", 1e-5f, noEps))),
        call(
            "ropeTable",
            a -> List.of(out("table", table(a, 3), table(a, 2)), in("batch", batch(a, 3)))),
        call(
            "rope",
            a ->
                List.of(
                    out("x", f32(a, 3, 8)).anyRows(),
                    in("heads", 2, noHeads),
                    in("table", table(a, 3), table(a, 2)))),
        call(
            "kvAppend",
            a ->
                List.of(
                    out("kv", kv(a)),
                    in("key", f32(a, 3, 4)),
                    in("value", f32(a, 3, 4)),
                    in("batch", batch(a, 3), batch(a, 2), batch(a, 3, 1), batch(a, 3, -1)))),
        call(
            "attention",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("q", f32(a, 3, 8)),
                    in("kv", kv(a)),
                    in("batch", batch(a, 3), batch(a, 2), batch(a, 3, 1), batch(a, 3, -1)),
                    in("heads", 2, noHeads),
                    in("scale", 0.5f, Float.NaN, Float.POSITIVE_INFINITY),
                    in("window", 0, -1, Integer.MIN_VALUE))),
        call(
            "activate",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)), in("kind", Activation.SILU), in("x", f32(a, 3, 8)))),
        call(
            "activateMul",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("kind", Activation.SILU),
                    in("x", f32(a, 3, 8)),
                    in("up", f32(a, 3, 8)).orNull())),
        call(
            "siluMul",
            a -> List.of(out("gate|y|x", f32(a, 3, 8)), in("up", f32(a, 3, 8)).orNull())),
        call(
            "softmax",
            a ->
                List.of(
                    out("y", f32(a, 3, 8)),
                    in("x", f32(a, 3, 8)),
                    in("temperature", 1f, 0f, -1f, Float.NaN, Float.POSITIVE_INFINITY))),
        call(
            "sample",
            a ->
                List.of(
                    out("ids", ints(a, 0, 0, 0)),
                    in("logits", f32(a, 3, 8)).anyColumns(),
                    in("how", new Sampling(1, 4, 0.9f, 0)),
                    in("uniform", Tensor.ofFloats(a, new float[] {0.1f, 0.5f, 0.9f}, 3)),
                    out("logprobs", vector(a, 3)).orNull())),
        call(
            "nll",
            a ->
                List.of(
                    out("nll", of(a, DataType.F64, 3)),
                    in("logits", f32(a, 3, 8)),
                    in("targets", ints(a, 1, 0, 7), ints(a, 1, -1, 2), ints(a, 1, 8, 2)))),
        call(
            "kl",
            a ->
                List.of(
                    out("kl", of(a, DataType.F64, 3)),
                    in("reference", f32(a, 3, 8)),
                    in("logits", f32(a, 3, 8)),
                    out("topReference", ints(a, 0, 0, 0)),
                    out("top", ints(a, 0, 0, 0)))),
        call(
            "rtn",
            a ->
                List.of(
                    out("out", weight(a, 8, 32), weight(a, 8, 16)),
                    in("w", f32(a, 8, 32)),
                    in("sym", Symmetry.SYMMETRIC),
                    in("scaleType", DataType.F16, DataType.I32))),
        call(
            "dequantize",
            a -> List.of(out("w", f32(a, 8, 32)), in("in", weight(a, 8, 32), weight(a, 8, 16)))),
        call(
            "gptqUnpack",
            a ->
                List.of(
                    out("out", weight(a, 8, 32), weight(a, 8, 16)),
                    in("qweight", of(a, DataType.I32, 4, 8)),
                    in("qzeros", of(a, DataType.I32, 2, 1)),
                    in("layout", GptqLayout.V1))),
        call(
            "gptqPack",
            a ->
                List.of(
                    out("qweight", of(a, DataType.I32, 4, 8)),
                    out("qzeros", of(a, DataType.I32, 2, 1)),
                    in("in", weight(a, 8, 32), weight(a, 8, 16)),
                    in("layout", GptqLayout.V1))),
        call(
            "awqUnpack",
            a ->
                List.of(
                    out("out", weight(a, 8, 32), weight(a, 8, 16)),
                    in("qweight", of(a, DataType.I32, 32, 1)),
                    in("qzeros", of(a, DataType.I32, 2, 1)))),
        call(
            "awqPack",
            a ->
                List.of(
                    out("qweight", of(a, DataType.I32, 32, 1)),
                    out("qzeros", of(a, DataType.I32, 2, 1)),
                    in("in", weight(a, 8, 32), weight(a, 8, 16)))),
        call(
            "wordsUnpack",
            a ->
                List.of(
                    out("codes", of(a, DataType.U8, 4, 32)),
                    in("words", of(a, DataType.I32, 4, 4)),
                    in("layout", WordLayout.ROWS),
                    in("bits", 4, 0, -1, 9, Integer.MAX_VALUE))),
        call(
            "wordsPack",
            a ->
                List.of(
                    out("words", of(a, DataType.I32, 4, 4)),
                    in("codes", of(a, DataType.U8, 4, 32)),
                    in("layout", WordLayout.ROWS),
                    in("bits", 4, 0, -1, 9, Integer.MAX_VALUE))),
        call(
            "gram",
            a ->
                List.of(
                    out("gram", of(a, DataType.F64, GptqTriangle.triangle(16))),
                    in("x", f32(a, 3, 16)).anyRows(),
                    out("cross", of(a, DataType.F64, GptqTriangle.square(16))),
                    in("exact", f32(a, 3, 16)))),
        call(
            "gptqFactor",
            a ->
                List.of(
                    out("out", triangle(a)),
                    in("gram", gram(a)),
                    in("cross", of(a, DataType.F64, GptqTriangle.square(16))).orNull(),
                    in("how|rows", damping(3), damping(-1)))),
        call(
            "gptqQuantize",
            a ->
                List.of(
                    out("out", weight(a, 8, 16)),
                    in("w", f32(a, 8, 16)),
                    in("factor", factor(a, engine)),
                    in(
                        "how|scaleType|mse",
                        new GptqTriangle.Ranges(Symmetry.SYMMETRIC, DataType.F32, false, false, 0),
                        new GptqTriangle.Ranges(Symmetry.SYMMETRIC, null, false, false, 0),
                        new GptqTriangle.Ranges(Symmetry.SYMMETRIC, DataType.I32, false, false, 0),
                        new GptqTriangle.Ranges(
                            Symmetry.SYMMETRIC, DataType.F32, false, false, Float.NaN)))),
        call(
            "awqRound",
            a ->
                List.of(
                    out("y", f32(a, 8, 16)),
                    in("w", f32(a, 8, 16)),
                    in("scale", ones(a, 16)),
                    in("grid|bits|group_size", grid(4, 16), grid(9, 16), grid(4, 0)))),
        call(
            "awqClip",
            a ->
                List.of(
                    out("w", f32(a, 8, 16)).anyRows(),
                    in("gram", gram(a)),
                    in("scale", ones(a, 16)).orNull(),
                    in("grid|bits|group_size", grid(4, 16), grid(9, 16), grid(4, 17)))),
        call(
            "eora",
            a ->
                List.of(
                    out("a", f32(a, 3, 16)),
                    out("b", f32(a, 8, 3)),
                    in("d", f32(a, 8, 16)),
                    in("gram", gram(a)))));
  }

  private static RoundingGrid grid(int bits, long groupSize) {
    return new RoundingGrid(bits, groupSize, true, DataType.F32);
  }

  private static Tensor ones(Arena a, int n) {
    var ones = new float[n];
    java.util.Arrays.fill(ones, 1);
    return Tensor.ofFloats(a, ones, n);
  }

  private static GptqTriangle.Damping damping(long rows) {
    return new GptqTriangle.Damping(GptqTriangle.Order.NONE, rows, 16, 0.01, 0.01, 0);
  }

  private static GptqTriangle triangle(Arena a) {
    return GptqTriangle.allocate(a, 16, true);
  }

  private static Tensor gram(Arena a) {
    return of(a, DataType.F64, GptqTriangle.triangle(16));
  }

  private static GptqTriangle factor(Arena a, Engine engine) {
    Tensor gram = gram(a);
    engine.ops().gram(gram, f32(a, 40, 16), null, null);
    GptqTriangle out = GptqTriangle.allocate(a, 16, false);
    engine.ops().gptqFactor(out, gram, null, damping(40));
    return out;
  }

  private static RopeTable table(Arena a, int tokens) {
    return new RopeTable(a, new float[] {1, 0.1f}, 1, false, tokens);
  }

  private static KvLayer kv(Arena a) {
    return new KvLayer(a, of(a, DataType.F32, 1, 1, 4, 16), of(a, DataType.F32, 1, 1, 16, 4));
  }

  private static BatchDescriptor batch(Arena a, int tokens) {
    return batch(a, tokens, 0);
  }

  private static BatchDescriptor batch(Arena a, int tokens, int block) {
    var batch = new BatchDescriptor(a, tokens, 1, 1);
    batch.add(new int[] {block}, 1, 0, tokens);
    return batch;
  }

  private static QuantizedWeight weight(Arena a, int n, int k) {
    QuantizedWeight q = QuantizedWeight.allocate(a, 4, n, k, 16, null);
    for (long i = 0; i < q.zeros().byteSize(); i++) {
      q.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) 8);
    }
    return q;
  }

  private static Tensor of(Arena a, DataType type, long... shape) {
    return Tensor.allocate(a, type, shape);
  }

  private static Tensor ints(Arena a, int... values) {
    return Tensor.ofInts(a, values);
  }

  private static Tensor vector(Arena a, int n) {
    return f32(a, 1, n).reshape(n);
  }

  /** The same numbers for the same shape. */
  private static Tensor f32(Arena a, int rows, int cols) {
    var random = new Random(31L * rows + cols);
    Tensor t = of(a, DataType.F32, rows, cols);
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < cols; c++) {
        t.setFloat(r, c, (float) random.nextGaussian());
      }
    }
    return t;
  }

  /** Every byte that a call has written. */
  static List<byte[]> written(List<Argument> arguments) {
    return arguments.stream()
        .filter(Argument::written)
        .flatMap(a -> segments(a.good()).stream())
        .map(s -> s.toArray(ValueLayout.JAVA_BYTE))
        .toList();
  }

  static List<MemorySegment> segments(Object argument) {
    return switch (argument) {
      case Tensor t -> List.of(t.segment());
      case QuantizedWeight q -> List.of(q.codes(), q.scales(), q.zeros());
      case KvLayer kv -> List.of(kv.keys().segment(), kv.values().segment());
      case RopeTable t -> List.of(t.cos().segment(), t.sin().segment());
      case BatchDescriptor b -> List.of(b.struct());
      case GptqTriangle t -> List.of(t.factor().segment(), t.pivots().segment());
      default -> List.of();
    };
  }
}
