package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Layouts that keep b = -z * s instead of a zero z: W = s * q + b. That product is rounded, so that
 * the plain formula is a little off; the integer behind it can be found again. Where every group of
 * a tensor has s at or above 0 and b is just what rounding -z * s gives, z in 0..2^bits-1, the
 * weight is s * (q - z); else b is used as it is, for the whole tensor.
 */
final class FloatZeros {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private FloatZeros() {}

  /** The weight of scales and b, both F32 [G, N], b as rounded to {@code type}. */
  static StoredWeight weight(QuantizedWeight codes, Tensor b, DataType type) {
    return findZeros(codes, b.segment(), type)
        ? StoredWeight.of(codes)
        : StoredWeight.withOffsets(codes, b);
  }

  /** Fills in the zeros, if all can be found. */
  private static boolean findZeros(QuantizedWeight w, MemorySegment b, DataType type) {
    int most = (1 << w.bits()) - 1;
    for (long i = 0; i < w.groups() * w.n(); i++) {
      float scale = w.scales().get(FLOAT, 4 * i);
      float offset = b.get(FLOAT, 4 * i);
      double z = scale == 0 ? 0 : Math.rint(-(offset / scale));
      if (!(scale >= 0) || !(z >= 0 && z <= most) || product(scale, (int) z, type) != offset) {
        return false;
      }
      w.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) (int) z);
    }
    return true;
  }

  private static float product(float scale, int zero, DataType type) {
    float exact = -zero * scale; // of float16 and bfloat16 scales it has at most 19 bits
    return switch (type) {
      case F16 -> Float.float16ToFloat(Float.floatToFloat16(exact));
      case BF16 -> {
        int bits = Float.floatToRawIntBits(exact);
        yield Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
      }
      default -> exact;
    };
  }

  /** b of a weight, F32 [G, N]; refused where a reader would not find the zeros again. */
  static Tensor of(Arena arena, String module, StoredWeight weight, DataType type) {
    QuantizedWeight w = weight.codes();
    if (weight.offsets() != null) {
      return weight.offsets();
    }
    Tensor b = Tensor.allocate(arena, DataType.F32, w.groups(), w.n());
    for (long i = 0; i < b.count(); i++) {
      int zero = w.zeros().get(ValueLayout.JAVA_BYTE, i) & 255;
      float scale = w.scales().get(FLOAT, 4 * i);
      b.segment().set(FLOAT, 4 * i, product(scale, zero, type));
    }
    var again =
        QuantizedWeight.allocate(arena, w.bits(), w.n(), w.k(), w.groupSize(), null, w.codes());
    MemorySegment.copy(w.scales(), 0, again.scales(), 0, 4 * b.count());
    boolean found = findZeros(again, b.segment(), type);
    if (!found || again.zeros().mismatch(w.zeros().asSlice(0, b.count())) != -1) {
      throw new NanoModelException(
          "module "
              + module
              + ": its zeros, kept as scale * zero in "
              + type
              + ", could not be found again");
    }
    return b;
  }
}
