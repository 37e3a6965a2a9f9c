package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.nanomodel.BadModelException;
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
