package org.nanomodel.safetensors;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Conversions between Java's float and the narrower floats of checkpoints. Plain and exact, for
 * small tensors, tools and tests; inference has kernels of its own.
 */
public final class Floats {
  private static final ValueLayout.OfShort LE16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat LE32 =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfDouble LE64 =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private Floats() {}

  /**
   * binary16 to float, exactly.
   *
   * @param bits an F16 element
   * @return its value
   */
  public static float fromF16(short bits) {
    return Float.float16ToFloat(bits);
  }

  /**
   * float to binary16, to nearest, ties to even; too large becomes infinite.
   *
   * @param value any float
   * @return an F16 element
   */
  public static short toF16(float value) {
    return Float.floatToFloat16(value);
  }

  /**
   * bfloat16 to float, exactly.
   *
   * @param bits a BF16 element
   * @return its value
   */
  public static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /**
   * float to bfloat16, to nearest, ties to even; NaN stays NaN.
   *
   * @param value any float
   * @return a BF16 element
   */
  public static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40); // quiet, so that no payload rounds to infinity
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  /**
   * F8_E4M3 (float8_e4m3fn) to float, exactly.
   *
   * @param bits an element; 0x7f and 0xff are NaN, none is infinite
   * @return its value
   */
  public static float fromF8E4M3(byte bits) {
    int exponent = bits >> 3 & 0xf;
    int mantissa = bits & 7;
    float size;
    if (exponent == 0xf && mantissa == 7) {
      size = Float.NaN;
    } else if (exponent == 0) {
      size = mantissa * 0x1p-9f;
    } else {
      size = Math.scalb(8f + mantissa, exponent - 10);
    }
    return bits < 0 ? -size : size;
  }

  /**
   * F8_E5M2 to float, exactly: the upper half of a binary16.
   *
   * @param bits an element
   * @return its value
   */
  public static float fromF8E5M2(byte bits) {
    return Float.float16ToFloat((short) (bits << 8));
  }

  /**
   * F8_E8M0 to float, exactly.
   *
   * @param bits an element; 0xff is NaN
   * @return 2^(bits - 127)
   */
  public static float fromF8E8M0(byte bits) {
    int exponent = bits & 0xff;
    return exponent == 0xff ? Float.NaN : Math.scalb(1f, exponent - 127);
  }

  /**
   * A tensor's elements as floats; exact but for F64, which is rounded.
   *
   * @param dtype F64, F32, F16, BF16, F8_E4M3, F8_E5M2 or F8_E8M0
   * @param data whole elements, little-endian, of any alignment
   * @return one float for each element
   * @throws SafetensorsException if the type is another one, or the data is not whole elements or
   *     more than an array holds
   */
  public static float[] decode(DType dtype, MemorySegment data) {
    Decoder decoder =
        switch (dtype) {
          case F64 -> (from, i) -> (float) from.get(LE64, i * 8);
          case F32 -> (from, i) -> from.get(LE32, i * 4);
          case F16 -> (from, i) -> fromF16(from.get(LE16, i * 2));
          case BF16 -> (from, i) -> fromBf16(from.get(LE16, i * 2));
          case F8_E4M3 -> (from, i) -> fromF8E4M3(from.get(ValueLayout.JAVA_BYTE, i));
          case F8_E5M2 -> (from, i) -> fromF8E5M2(from.get(ValueLayout.JAVA_BYTE, i));
          case F8_E8M0 -> (from, i) -> fromF8E8M0(from.get(ValueLayout.JAVA_BYTE, i));
          default ->
              throw new SafetensorsException(
                  null, "dtype", dtype.name(), "F64, F32, F16, BF16, F8_E4M3, F8_E5M2 or F8_E8M0");
        };
    long size = data.byteSize();
    if (size % dtype.bytes() != 0 || size / dtype.bytes() > Integer.MAX_VALUE - 8) {
      throw new SafetensorsException(
          null, dtype + " data", size + " bytes", "whole elements, fewer than 2^31 - 8");
    }
    float[] values = new float[(int) (size / dtype.bytes())];
    for (int i = 0; i < values.length; i++) {
      values[i] = decoder.at(data, i);
    }
    return values;
  }

  private interface Decoder {
    float at(MemorySegment from, long index);
  }
}
