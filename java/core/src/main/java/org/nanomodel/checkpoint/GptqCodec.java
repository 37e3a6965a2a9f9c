package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.BF16;
import static org.nanomodel.tensor.DataType.F16;
import static org.nanomodel.tensor.DataType.F32;
import static org.nanomodel.tensor.DataType.I32;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The tensors of a module in the GPTQ layout: qweight I32 [ceil(K*bits/32), N], qzeros I32 [G,
 * ceil(N*bits/32)], scales [G, N], g_idx I32 [K], and back to codes. W[n,k] = scales[g,n] *
 * (codes[n,k] - zeros[g,n]), g = g_idx[k]. Packing itself is native; here are names, shapes, and
 * the mistakes of other programs.
 */
public final class GptqCodec {
  private static final List<DataType> SCALE_TYPES = List.of(F16, BF16, F32);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private GptqCodec() {}

  /** A module's tensors, ready to be written. */
  public record Packed(Tensor qweight, Tensor qzeros, Tensor scales, Tensor gIdx) {}

  /** Names, types and shapes of what {@link #pack} makes for a weight [N, K]. */
  public static List<TensorSpec> specs(String module, long n, long k, int bits, long groupSize) {
    long groups = Math.ceilDiv(k, groupSize);
    return List.of(
        new TensorSpec(module + ".qweight", DType.I32, words(k, bits), n),
        new TensorSpec(module + ".qzeros", DType.I32, groups, words(n, bits)),
        new TensorSpec(module + ".scales", DType.F16, groups, n),
        new TensorSpec(module + ".g_idx", DType.I32, k));
  }

  /** 32-bit words of a stream of {@code count} codes; the last may be part empty. */
  private static long words(long count, int bits) {
    return Math.ceilDiv(Math.multiplyExact(count, (long) bits), 32L);
  }

  /** Packs codes; scales become F16, which must hold them. */
  public static Packed pack(Arena arena, Ops ops, String module, QuantizedWeight w, Format format) {
    Tensor qweight = Tensor.allocate(arena, I32, words(w.k(), w.bits()), w.n());
    Tensor qzeros = Tensor.allocate(arena, I32, w.groups(), words(w.n(), w.bits()));
    ops.gptqPack(qweight, qzeros, w, format == Format.GPTQ ? 1 : 0);
    Tensor scales = Tensor.allocate(arena, F16, w.groups(), w.n());
    ops.convert(scales, Tensor.of(F32, w.scales(), w.groups(), w.n()));
    checkScales(arena, ops, module, scales);
    return new Packed(qweight, qzeros, scales, groupsOf(arena, w));
  }

  private static void checkScales(Arena arena, Ops ops, String module, Tensor scales) {
    Tensor f32 = Tensor.allocate(arena, F32, scales.shape());
    ops.convert(f32, scales);
    for (long i = 0; i < f32.count(); i++) {
      if (!Float.isFinite(f32.segment().get(FLOAT, 4 * i))) {
        throw new NanoModelException(
            "module "
                + module
                + ": a scale is beyond 65504, the range of the float16 that GPTQ checkpoints hold;"
                + " its weights are too large to quantize");
      }
    }
  }

  private static Tensor groupsOf(Arena arena, QuantizedWeight w) {
    Tensor gIdx = Tensor.allocate(arena, I32, w.k());
    for (long k = 0; k < w.k(); k++) {
      int g = w.gIdx() == null ? (int) (k / w.groupSize()) : w.gIdx().get(INT, 4 * k);
      gIdx.segment().set(INT, 4 * k, g);
    }
    return gIdx;
  }

  /**
   * Reads a module; contradictions between its tensors and the config are a {@link
   * BadModelException}.
   */
  static QuantizedWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = scheme(stored, config, module);
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I32), -1, -1);
    long n = qweight.cols();
    Tensor scales = stored.tensor(module + ".scales", SCALE_TYPES, -1, n);
    Optional<Tensor> gIdx = stored.find(module + ".g_idx", List.of(I32), -1);
    long k = columns(stored, config, module);
    long groups = k < 1 || n < 1 ? 0 : scheme.groups(k);
    if (groups != scales.rows()
        || qweight.rows() != words(k, scheme.bits())
        || groups > Integer.MAX_VALUE) {
      throw new BadModelException(
          stored.where(module + ".qweight")
              + " "
              + qweight
              + " with scales "
              + scales
              + " and K = "
              + k
              + " does not fit bits "
              + scheme.bits()
              + ", group_size "
              + scheme.groupSize()
              + " of "
              + config.source());
    }
    Tensor qzeros =
        stored.tensor(module + ".qzeros", List.of(I32), groups, words(n, scheme.bits()));
    MemorySegment order =
        gIdx.map(t -> order(arena, stored, module, t, scheme.groupOf(k), groups)).orElse(null);
    var w = QuantizedWeight.allocate(arena, scheme.bits(), n, k, scheme.groupOf(k), order);
    unpack(arena, ops, w, qweight, qzeros, ZeroLayout.of(config, scheme, qzeros, n));
    readScales(arena, ops, stored, module, w, scales);
    return w;
  }

  private static ModuleScheme scheme(
      StoredTensors stored, QuantizationConfig config, String module) {
    return config
        .scheme(module)
        .orElseThrow(() ->
            new BadModelException(
                stored.where(module + ".qweight")
                    + " is quantized, but dynamic in "
                    + config.source()
                    + " says that it is not"));
  }

  /**
   * K of a module: the length of g_idx, which this version always writes, else by {@link
   * #rowLength}.
   */
  static long columns(StoredTensors stored, QuantizationConfig config, String module) {
    if (stored.has(module + ".g_idx")) {
      return stored.tensor(module + ".g_idx", List.of(I32), -1).count();
    }
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I32), -1, -1);
    Tensor scales = stored.tensor(module + ".scales", SCALE_TYPES, -1, qweight.cols());
    return rowLength(qweight.rows(), scales.rows(), scheme(stored, config, module));
  }

  /** K of a file without g_idx: what the groups fill exactly, else what the words hold. */
  private static long rowLength(long rows, long groups, ModuleScheme scheme) {
    long full = scheme.groupSize() < 0 ? -1 : groups * scheme.groupSize();
    return full > 0 && full <= rows * 32 && words(full, scheme.bits()) == rows
        ? full
        : rows * 32 / scheme.bits();
  }

  private static void unpack(
      Arena arena, Ops ops, QuantizedWeight w, Tensor qweight, Tensor qzeros, ZeroLayout layout) {
    ops.gptqUnpack(
        w,
        StoredTensors.aligned(arena, qweight),
        layout.corrected(arena, qzeros),
        layout.zeroOffset());
  }

  private static void readScales(
      Arena arena, Ops ops, StoredTensors stored, String module, QuantizedWeight w, Tensor scales) {
    Tensor f32 = Tensor.of(F32, w.scales(), w.groups(), w.n());
    ops.convert(f32, StoredTensors.aligned(arena, scales));
    for (long i = 0; i < f32.count(); i++) {
      float s = f32.segment().get(FLOAT, 4 * i);
      // 0 is what float16 makes of a tiny scale, and decodes as other readers decode it
      if (!(s >= 0) || s == Float.POSITIVE_INFINITY) {
        throw new BadModelException(
            stored.where(module + ".scales")
                + " element ["
                + i / w.n()
                + ", "
                + i % w.n()
                + "] is "
                + s
                + ", expected a finite number, 0 or above");
      }
    }
  }

  /**
   * The column order, or null for k / group_size. Every group must have its full number of columns:
   * kernels sort the columns and count groups off. All zeros with several groups is some writers'
   * way to say that there is no order.
   */
  private static MemorySegment order(
      Arena arena, StoredTensors stored, String module, Tensor gIdx, long groupSize, long groups) {
    long k = gIdx.count();
    var columns = new long[Math.toIntExact(groups)];
    boolean trivial = true;
    boolean zero = true;
    for (long i = 0; i < k; i++) {
      int g = gIdx.segment().get(INT, 4 * i);
      if (g < 0 || g >= groups) {
        throw new BadModelException(
            stored.where(module + ".g_idx")
                + " element "
                + i
                + " is "
                + g
                + ", expected 0.."
                + (groups - 1));
      }
      columns[g]++;
      trivial &= g == i / groupSize;
      zero &= g == 0;
    }
    if (trivial || zero) {
      return null;
    }
    for (int g = 0; g < groups; g++) {
      long expected = g < groups - 1 ? groupSize : k - (groups - 1) * groupSize;
      if (columns[g] != expected) {
        throw new BadModelException(
            stored.where(module + ".g_idx")
                + " gives group "
                + g
                + " "
                + columns[g]
                + " columns, expected "
                + expected);
      }
    }
    return StoredTensors.aligned(arena, gIdx).segment();
  }
}
