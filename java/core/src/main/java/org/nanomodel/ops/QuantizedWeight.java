package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Activations;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Canonical integer weight: W[n,k] = scales[g,n] * (codes[n,k] - zeros[g,n]), g = gIdx[k].
 *
 * @param bits 2..8
 * @param groupSize 1..K; G = ceil(K / groupSize) groups
 * @param codes u8 [N, K], 0 .. 2^bits - 1
 * @param scales f32 [G, N]
 * @param zeros u8 [G, N]
 * @param gIdx i32 [K], the group of each column; null for k / groupSize
 * @param activations what its format says of the input: AUTO (nothing), INT8 or INT4
 */
public record QuantizedWeight(
    int bits,
    long n,
    long k,
    long groupSize,
    MemorySegment codes,
    MemorySegment scales,
    MemorySegment zeros,
    MemorySegment gIdx,
    Activations activations)
    implements WeightData {

  public QuantizedWeight {
    if (bits < 2 || bits > 8) {
      throw new IllegalArgumentException("bits = " + bits + ", expected 2 to 8");
    }
    if (groupSize < 1 || groupSize > k) {
      throw new IllegalArgumentException("group size " + groupSize + ", expected 1 to K = " + k);
    }
    long groups = Math.ceilDiv(k, groupSize);
    Checks.atLeast("codes", codes, Tensor.byteSize(DataType.U8, n, k));
    Checks.atLeast("scales", scales, Tensor.byteSize(DataType.F32, groups, n));
    Checks.atLeast("zeros", zeros, Tensor.byteSize(DataType.U8, groups, n));
    if (gIdx != null) {
      Checks.atLeast("g_idx", gIdx, Tensor.byteSize(DataType.I32, k));
    }
  }

  /** One whose format says nothing of the input. */
  public QuantizedWeight(
      int bits,
      long n,
      long k,
      long groupSize,
      MemorySegment codes,
      MemorySegment scales,
      MemorySegment zeros,
      MemorySegment gIdx) {
    this(bits, n, k, groupSize, codes, scales, zeros, gIdx, Activations.AUTO);
  }

  /** The same arrays. */
  public QuantizedWeight withActivations(Activations value) {
    return new QuantizedWeight(bits, n, k, groupSize, codes, scales, zeros, gIdx, value);
  }

  public long groups() {
    return Math.ceilDiv(k, groupSize);
  }

  /** Zeroed arrays of a weight to be filled. */
  public static QuantizedWeight allocate(
      Arena arena, int bits, long n, long k, long groupSize, MemorySegment gIdx) {
    checkShape(n, k, groupSize);
    MemorySegment codes = Tensor.allocate(arena, DataType.U8, n, k).segment();
    return allocate(arena, bits, n, k, groupSize, gIdx, codes);
  }

  /** The same over codes that are there. */
  public static QuantizedWeight allocate(
      Arena arena,
      int bits,
      long n,
      long k,
      long groupSize,
      MemorySegment gIdx,
      MemorySegment codes) {
    checkShape(n, k, groupSize);
    long groups = Math.ceilDiv(k, groupSize);
    return new QuantizedWeight(
        bits,
        n,
        k,
        groupSize,
        codes,
        Tensor.allocate(arena, DataType.F32, groups, n).segment(),
        Tensor.allocate(arena, DataType.U8, groups, n).segment(),
        gIdx);
  }

  private static void checkShape(long n, long k, long groupSize) {
    if (groupSize < 1 || n < 1 || k < 1) {
      throw new IllegalArgumentException(
          "weight [" + n + ", " + k + "] with group size " + groupSize);
    }
  }

  /**
   * The weights below each other (along N), copied; empty unless bits, K, group size, column groups
   * and activations agree.
   */
  public static Optional<QuantizedWeight> concat(Arena arena, List<QuantizedWeight> weights) {
    QuantizedWeight first = weights.getFirst();
    if (!weights.stream().allMatch(first::fits)) {
      return Optional.empty();
    }
    long n = weights.stream().mapToLong(QuantizedWeight::n).reduce(0, Math::addExact);
    QuantizedWeight all =
        allocate(arena, first.bits, n, first.k, first.groupSize, copyOf(arena, first.gIdx))
            .withActivations(first.activations);
    long at = 0;
    for (QuantizedWeight w : weights) {
      MemorySegment.copy(w.codes, 0, all.codes, at * w.k, w.n * w.k);
      for (long g = 0; g < w.groups(); g++) {
        MemorySegment.copy(w.scales, 4 * g * w.n, all.scales, 4 * (g * n + at), 4 * w.n);
        MemorySegment.copy(w.zeros, g * w.n, all.zeros, g * n + at, w.n);
      }
      at += w.n;
    }
    return Optional.of(all);
  }

  private boolean fits(QuantizedWeight o) {
    return bits == o.bits
        && k == o.k
        && groupSize == o.groupSize
        && activations == o.activations
        && sameColumns(o);
  }

  private boolean sameColumns(QuantizedWeight o) {
    if (gIdx == null || o.gIdx == null) {
      return gIdx == o.gIdx;
    }
    return gIdx.asSlice(0, 4 * k).mismatch(o.gIdx.asSlice(0, 4 * k)) == -1;
  }

  private static MemorySegment copyOf(Arena arena, MemorySegment ints) {
    return ints == null
        ? null
        : arena.allocateFrom(
            ValueLayout.JAVA_INT, ints, ValueLayout.JAVA_INT_UNALIGNED, 0, ints.byteSize() / 4);
  }
}
