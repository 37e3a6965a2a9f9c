package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * A quantized module as a checkpoint holds it: canonical, W = s * (q - z), or one of two kinds that
 * only some layouts have.
 *
 * @param codes with scales; the zeros count unless there are offsets
 * @param offsets F32 [G, N], or null: W = s * q + offset, where no integer zero is behind it
 * @param channelScales F32 [N], or null: the scales are a first level that makes int8 of the codes,
 *     W = clamp(round(s * (q - z)), -128, 127) * channelScale
 */
public record StoredWeight(QuantizedWeight codes, Tensor offsets, Tensor channelScales) {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  /** A weight that is nothing but canonical. */
  public static StoredWeight of(QuantizedWeight codes) {
    return new StoredWeight(codes, null, null);
  }

  /** A weight whose zeros are floats. */
  static StoredWeight withOffsets(QuantizedWeight codes, Tensor offsets) {
    return new StoredWeight(codes, offsets, null);
  }

  /** A weight of two levels of scales, as QQQ has it in groups. */
  public static StoredWeight ofTwoLevels(QuantizedWeight codes, Tensor channelScales) {
    return new StoredWeight(codes, null, channelScales);
  }

  /**
   * The weight as a linear takes it: two levels of scales become int8 a row, float offsets become
   * floats.
   */
  WeightData weight(Arena arena, Ops ops) {
    if (offsets != null) {
      Tensor f32 = floats(arena, ops);
      return new FloatWeight(DataType.F32, codes.n(), codes.k(), f32.segment());
    }
    return oneLevel(arena);
  }

  /** Codes with one level of scales: int8 ones, where there are two. */
  QuantizedWeight oneLevel(Arena arena) {
    return channelScales == null ? codes : int8(arena);
  }

  /** What the weight stands for, F32 [N, K]. */
  Tensor floats(Arena arena, Ops ops) {
    return floats(arena, arena, ops);
  }

  /** The same; what is needed on the way is {@code scratch}. */
  public Tensor floats(Arena arena, Arena scratch, Ops ops) {
    Tensor f32 = Tensor.allocate(arena, DataType.F32, codes.n(), codes.k());
    if (offsets == null) {
      ops.dequantize(f32, oneLevel(scratch));
    } else {
      addOffsets(f32);
    }
    return f32;
  }

  private void addOffsets(Tensor f32) {
    int k = Math.toIntExact(codes.k());
    var q = new byte[k];
    var w = new float[k];
    for (long n = 0; n < codes.n(); n++) {
      MemorySegment.copy(codes.codes(), BYTE, n * k, q, 0, k);
      for (int from = 0, g = 0; from < k; from += (int) codes.groupSize(), g++) {
        float scale = codes.scales().get(FLOAT, 4 * (g * codes.n() + n));
        float offset = offsets.segment().get(FLOAT, 4 * (g * codes.n() + n));
        int to = (int) Math.min(k, from + codes.groupSize());
        for (int i = from; i < to; i++) {
          w[i] = scale * (q[i] & 255) + offset;
        }
      }
      MemorySegment.copy(w, 0, f32.segment(), FLOAT, 4 * n * k, k);
    }
  }

  /** W = (q8 - 128) * channelScale, one group a row. */
  private QuantizedWeight int8(Arena arena) {
    long n = codes.n();
    int k = Math.toIntExact(codes.k());
    var out = QuantizedWeight.allocate(arena, 8, n, k, k, null);
    out.zeros().fill((byte) 128);
    MemorySegment.copy(channelScales.segment(), 0, out.scales(), 0, 4 * n);
    var row = new byte[k];
    for (long r = 0; r < n; r++) {
      MemorySegment.copy(codes.codes(), BYTE, r * k, row, 0, k);
      for (int from = 0, g = 0; from < k; from += (int) codes.groupSize(), g++) {
        byte[] wide = wide(g * n + r);
        int to = (int) Math.min(k, from + codes.groupSize());
        for (int i = from; i < to; i++) {
          row[i] = wide[row[i] & 255];
        }
      }
      MemorySegment.copy(row, 0, out.codes(), BYTE, r * k, k);
    }
    return out;
  }

  /** The int8 code of each code of a group. */
  private byte[] wide(long group) {
    float scale = codes.scales().get(FLOAT, 4 * group);
    int zero = codes.zeros().get(BYTE, group) & 255;
    var wide = new byte[1 << codes.bits()];
    for (int q = 0; q < wide.length; q++) {
      wide[q] = (byte) (Math.clamp((long) Math.rint((q - zero) * scale), -128, 127) + 128);
    }
    return wide;
  }
}
