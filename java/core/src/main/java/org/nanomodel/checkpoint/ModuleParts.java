package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** What the tensors of a quantized module have in common in all layouts: scheme, scales, g_idx. */
final class ModuleParts {
  private static final List<DataType> SCALE_TYPES =
      List.of(DataType.F16, DataType.BF16, DataType.F32);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private ModuleParts() {}

  /** What the config says of a module that is quantized. */
  static ModuleScheme scheme(StoredTensors stored, QuantizationConfig config, String module) {
    return config
        .scheme(module)
        .orElseThrow(() ->
            new BadModelException(
                stored.where(module + ".qweight")
                    + " is quantized, but dynamic in "
                    + config.source()
                    + " says that it is not"));
  }

  /** What a layout of one width says to another. */
  static Optional<String> refuseBits(ModuleScheme scheme, int bits) {
    return scheme.bits() == bits
        ? Optional.empty()
        : Optional.of("it holds " + bits + " bits, not " + scheme.bits());
  }

  /** What a layout without g_idx says to ordered columns. */
  static Optional<String> refuseOrder(ModuleScheme scheme) {
    return scheme.descAct()
        ? Optional.of("it has no g_idx for columns in another order (desc_act)")
        : Optional.empty();
  }

  /** What a layout without zero points says to asymmetric weights. */
  static Optional<String> refuseZeros(ModuleScheme scheme) {
    return scheme.sym()
        ? Optional.empty()
        : Optional.of("it has no zero points, so it holds symmetric weights only");
  }

  static Optional<String> refuseShape(String what, long count, long multiple) {
    return count % multiple == 0
        ? Optional.empty()
        : Optional.of(what + " " + count + " are no multiple of " + multiple);
  }

  static Optional<String> refuseShortGroup(long k, ModuleScheme scheme) {
    return k % scheme.groupOf(k) == 0
        ? Optional.empty()
        : Optional.of(
            "group_size " + scheme.groupSize() + " does not divide its " + k + " columns");
  }

  /** The scales as stored. */
  static Tensor scales(StoredTensors stored, String module, long groups, long n) {
    return stored.tensor(module + ".scales", SCALE_TYPES, groups, n);
  }

  static BadModelException unfit(
      StoredTensors stored,
      QuantizationConfig config,
      ModuleScheme scheme,
      String module,
      Tensor qweight,
      Tensor scales,
      long k) {
    return new BadModelException(
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

  /** The scales [G, N] of a weight in another type, which must hold their range. */
  static Tensor packScales(
      Arena arena, Ops ops, String module, QuantizedWeight w, DataType scaleType) {
    Tensor f32 = Tensor.of(DataType.F32, w.scales(), w.groups(), w.n());
    return inRange(arena, ops, module, "scale", f32, scaleType);
  }

  /** Values [...] converted to another type, which must hold their range. */
  static Tensor inRange(
      Arena arena, Ops ops, String module, String what, Tensor f32, DataType type) {
    Tensor out = Tensor.allocate(arena, type, f32.shape());
    ops.convert(out, f32);
    Tensor back = Tensor.allocate(arena, DataType.F32, f32.shape());
    ops.convert(back, out);
    for (long i = 0; i < back.count(); i++) {
      if (!Float.isFinite(back.segment().get(FLOAT, 4 * i))) {
        throw new NanoModelException(
            "module "
                + module
                + ": a "
                + what
                + " is beyond "
                + (type == DataType.F16
                    ? "65504, the range of the float16"
                    : "the range of the " + type)
                + " that the format holds; its weights are too large to quantize");
      }
    }
    return out;
  }

  /** Scales to float32, checked. */
  static void readScales(
      Arena arena, Ops ops, StoredTensors stored, String module, QuantizedWeight w, Tensor scales) {
    Tensor f32 = Tensor.of(DataType.F32, w.scales(), w.groups(), w.n());
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
   * The column order of g_idx, or null for k / group_size, sorted (static groups) or absent. Every
   * group must have its full number of columns: kernels sort the columns and count groups off. All
   * zeros with several groups is some writers' way to say that there is no order.
   */
  static MemorySegment order(
      Arena arena, StoredTensors stored, String module, long k, long groupSize) {
    if (!stored.has(module + ".g_idx")) {
      return null;
    }
    Tensor gIdx = stored.tensor(module + ".g_idx", List.of(DataType.I32), k);
    long groups = Math.ceilDiv(k, groupSize);
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
