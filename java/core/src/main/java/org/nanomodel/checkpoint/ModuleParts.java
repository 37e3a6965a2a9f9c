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
import org.nanomodel.ops.WordLayout;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** What the tensors of a quantized module have in common in all layouts: scheme, scales, g_idx. */
final class ModuleParts {
  static final List<DataType> SCALE_TYPES = List.of(DataType.F16, DataType.BF16, DataType.F32);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private ModuleParts() {}

  /** What the config says of a module that is quantized. */
  static ModuleScheme scheme(StoredTensors stored, QuantizationConfig config, String module) {
    return config
        .scheme(module)
        .orElseThrow(() ->
            new BadModelException(
                stored.where(module + "." + Codec.of(config).mark())
                    + " is quantized, but "
                    + config.source()
                    + " leaves it in float (dynamic)"));
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
    return inRange(arena, ops, module, "scale", scales(w), scaleType);
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

  /** Scales [G, N] to float32, checked. */
  static void readScales(
      Arena arena, Ops ops, StoredTensors stored, String module, QuantizedWeight w, Tensor scales) {
    String name = module + ".scales";
    setScales(stored, name, w, floats(arena, ops, stored, name, scales));
  }

  /** A stored tensor as float32 of the same shape; every element is finite. */
  static Tensor floats(Arena arena, Ops ops, StoredTensors stored, String name, Tensor t) {
    Tensor f32 = Tensor.allocate(arena, DataType.F32, t.shape());
    ops.convert(f32, StoredTensors.aligned(arena, t));
    for (long i = 0; i < f32.count(); i++) {
      float value = f32.segment().get(FLOAT, 4 * i);
      if (!Float.isFinite(value)) {
        throw badElement(stored, name, i, t.cols(), value, "a finite number");
      }
    }
    return f32;
  }

  /** Scales [G, N] into a weight; 0 is what float16 makes of a tiny one, and is read. */
  static void setScales(StoredTensors stored, String name, QuantizedWeight w, Tensor scales) {
    for (long i = 0; i < scales.count(); i++) {
      float value = scales.segment().get(FLOAT, 4 * i);
      if (!(value >= 0)) {
        throw badElement(stored, name, i, scales.cols(), value, "a finite number, 0 or above");
      }
    }
    copyScales(w, scales);
  }

  /** Scales [G, N] of any sign into a weight. */
  static void copyScales(QuantizedWeight w, Tensor scales) {
    MemorySegment.copy(scales.segment(), 0, w.scales(), 0, 4 * w.groups() * w.n());
  }

  /** The first G rows of zeros into a weight. */
  static void setZeros(QuantizedWeight w, Tensor zeros) {
    MemorySegment.copy(zeros.segment(), 0, w.zeros(), 0, w.groups() * w.n());
  }

  private static BadModelException badElement(
      StoredTensors stored, String name, long i, long cols, float value, String expected) {
    return new BadModelException(
        stored.where(name)
            + " element ["
            + i / cols
            + ", "
            + i % cols
            + "] is "
            + value
            + ", expected "
            + expected);
  }

  /** The zero of a symmetric weight, everywhere. */
  static void setSymmetric(QuantizedWeight w) {
    w.zeros().fill((byte) (1 << w.bits() - 1));
  }

  /** Refuses a weight with zero points, for a layout that has none. */
  static void requireSymmetric(String module, QuantizedWeight w, Object format) {
    byte zero = (byte) (1 << w.bits() - 1);
    for (long i = 0; i < w.groups() * w.n(); i++) {
      byte got = w.zeros().get(ValueLayout.JAVA_BYTE, i);
      if (got != zero) {
        throw new NanoModelException(
            "module "
                + module
                + " has a zero point of "
                + (got & 255)
                + ", format "
                + format
                + " has none: it holds symmetric weights, whose zeros are "
                + (zero & 255));
      }
    }
  }

  /** Refuses a module whose tensors do not have the shapes that the config says. */
  static void require(
      boolean fits,
      StoredTensors stored,
      QuantizationConfig config,
      ModuleScheme scheme,
      String name,
      Object detail) {
    if (!fits) {
      throw new BadModelException(
          stored.where(name)
              + " "
              + detail
              + " does not fit bits "
              + scheme.bits()
              + ", group_size "
              + scheme.groupSize()
              + " of "
              + config.source());
    }
  }

  /** Codes of a weight as a matrix. */
  static Tensor codes(QuantizedWeight w) {
    return Tensor.of(DataType.U8, w.codes(), w.n(), w.k());
  }

  /** Zeros of a weight as a matrix [G, N]. */
  static Tensor zeros(QuantizedWeight w) {
    return Tensor.of(DataType.U8, w.zeros(), w.groups(), w.n());
  }

  /** Scales of a weight as a matrix [G, N]. */
  static Tensor scales(QuantizedWeight w) {
    return Tensor.of(DataType.F32, w.scales(), w.groups(), w.n());
  }

  /** Packed words of codes in a layout. */
  static Tensor words(Arena arena, Ops ops, Tensor codes, WordLayout layout, int bits) {
    Tensor words =
        Tensor.allocate(arena, layout.words(), layout.shape(codes.rows(), codes.cols(), bits));
    ops.wordsPack(words, codes, layout, bits);
    return words;
  }

  /**
   * The column order of g_idx, or null for k / group_size, sorted (static groups) or absent. Every
   * group must have its full number of columns: kernels sort the columns and count groups off. All
   * zeros with several groups is some writers' way to say that there is no order.
   */
  static MemorySegment order(
      Arena arena, StoredTensors stored, String name, long k, long groupSize) {
    if (!stored.has(name)) {
      return null;
    }
    Tensor gIdx = stored.tensor(name, List.of(DataType.I32), k);
    long groups = Math.ceilDiv(k, groupSize);
    var columns = new long[Math.toIntExact(groups)];
    boolean trivial = true;
    boolean zero = true;
    for (long i = 0; i < k; i++) {
      int g = gIdx.segment().get(INT, 4 * i);
      if (g < 0 || g >= groups) {
        throw new BadModelException(
            stored.where(name) + " element " + i + " is " + g + ", expected 0.." + (groups - 1));
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
            stored.where(name)
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

  /** g_idx of a weight, I32 [K]. */
  static Tensor groupsOfColumns(Arena arena, QuantizedWeight w) {
    Tensor gIdx = Tensor.allocate(arena, DataType.I32, w.k());
    for (long k = 0; k < w.k(); k++) {
      int g = w.gIdx() == null ? (int) (k / w.groupSize()) : w.gIdx().get(INT, 4 * k);
      gIdx.segment().set(INT, 4 * k, g);
    }
    return gIdx;
  }
}
