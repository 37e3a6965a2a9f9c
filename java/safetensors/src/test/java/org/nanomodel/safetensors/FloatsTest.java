package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Conversions against the formats' definitions, over all bit patterns where there are few. */
class FloatsTest {

  /** Sign, exponent and mantissa by the textbook, in double. */
  private static double byDefinition(int bits, int exponentBits, int mantissaBits) {
    int bias = (1 << exponentBits - 1) - 1;
    int exponent = bits >> mantissaBits & (1 << exponentBits) - 1;
    int mantissa = bits & (1 << mantissaBits) - 1;
    double fraction = mantissa / (double) (1 << mantissaBits);
    double size =
        exponent == 0
            ? fraction * Math.pow(2, 1 - bias)
            : (1 + fraction) * Math.pow(2, exponent - bias);
    return (bits >> exponentBits + mantissaBits & 1) == 1 ? -size : size;
  }

  /** The same where the largest exponent means infinity or NaN. */
  private static float ieee(int bits, int exponentBits, int mantissaBits) {
    int top = (1 << exponentBits) - 1;
    if ((bits >> mantissaBits & top) != top) {
      return (float) byDefinition(bits, exponentBits, mantissaBits);
    }
    if ((bits & (1 << mantissaBits) - 1) != 0) {
      return Float.NaN;
    }
    return (bits >> exponentBits + mantissaBits & 1) == 1
        ? Float.NEGATIVE_INFINITY
        : Float.POSITIVE_INFINITY;
  }

  @Test
  void allSixteenBitPatternsDecodeByDefinition() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      assertSame(Floats.fromF16((short) bits), ieee(bits, 5, 10), bits);
      assertSame(Floats.fromBf16((short) bits), ieee(bits, 8, 7), bits);
    }
  }

  @Test
  void allEightBitPatternsDecodeByDefinition() {
    for (int bits = 0; bits < 256; bits++) {
      boolean nan = (bits & 0x7f) == 0x7f;
      float e4m3 = nan ? Float.NaN : (float) byDefinition(bits, 4, 3);
      assertSame(Floats.fromF8E4M3((byte) bits), e4m3, bits);
      assertSame(Floats.fromF8E5M2((byte) bits), ieee(bits, 5, 2), bits);
      float scale = bits == 255 ? Float.NaN : (float) Math.pow(2, bits - 127);
      assertSame(Floats.fromF8E8M0((byte) bits), scale, bits);
    }
  }

  /** Values printed in the OCP 8-bit floating point specification, revision 1.0, table 1. */
  @ParameterizedTest
  @CsvSource({"0x7e,448", "0x08,0.015625", "0x07,0.013671875", "0x01,0.001953125", "0x80,-0.0"})
  void e4m3HasTheSpecificationsValues(String bits, float value) {
    assertSame(Floats.fromF8E4M3(Integer.decode(bits).byteValue()), value, Integer.decode(bits));
  }

  @Test
  void encodingRoundsToTheNearestAndTiesToEven() {
    Random random = new Random(1);
    for (int i = 0; i < 200_000; i++) {
      float value = Float.intBitsToFloat(random.nextInt());
      if (Float.isNaN(value)) {
        assertThat(Floats.fromBf16(Floats.toBf16(value))).isNaN();
      } else {
        assertNearest(value, Floats.toBf16(value));
      }
    }
    assertThat(Floats.toBf16(Float.intBitsToFloat(0x3f808000))).isEqualTo((short) 0x3f80);
    assertThat(Floats.toBf16(Float.intBitsToFloat(0x3f818000))).isEqualTo((short) 0x3f82);
    assertThat(Floats.toBf16(Float.intBitsToFloat(0x3f808001))).isEqualTo((short) 0x3f81);
    assertThat(Floats.toBf16(Float.MAX_VALUE)).isEqualTo((short) 0x7f80);
    assertThat(Floats.fromBf16(Floats.toBf16(Float.intBitsToFloat(0x7f800001)))).isNaN();
    assertThat(Floats.fromBf16(Floats.toBf16(Float.intBitsToFloat(0xffffffff)))).isNaN();
  }

  /** Neither neighbour is nearer, taking infinity for 2^128. */
  private static void assertNearest(float value, short bits) {
    double error = Math.abs(wide(bits) - value);
    assertThat(error).isLessThanOrEqualTo(Math.abs(wide((short) (bits + 1)) - value));
    if ((bits & 0x7fff) != 0) {
      assertThat(error).isLessThanOrEqualTo(Math.abs(wide((short) (bits - 1)) - value));
    }
  }

  private static double wide(short bits) {
    return (bits & 0x7fff) > 0x7f80 ? Double.MAX_VALUE : byDefinition(bits & 0xffff, 8, 7);
  }

  @Test
  void sixteenBitPatternsSurviveARoundTrip() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      if (!Float.isNaN(Floats.fromF16((short) bits))) {
        assertThat(Floats.toF16(Floats.fromF16((short) bits))).isEqualTo((short) bits);
      }
      if (!Float.isNaN(Floats.fromBf16((short) bits))) {
        assertThat(Floats.toBf16(Floats.fromBf16((short) bits))).isEqualTo((short) bits);
      }
    }
  }

  @Test
  void tensorsDecodeLittleEndian() {
    assertThat(decode(DType.F64, 0, 0, 0, 0, 0, 0, 0xf8, 0xbf)).containsExactly(-1.5f);
    assertThat(decode(DType.F32, 0, 0, 0xc0, 0xbf)).containsExactly(-1.5f);
    assertThat(decode(DType.F16, 0, 0xbe, 0, 0x3c)).containsExactly(-1.5f, 1f);
    assertThat(decode(DType.BF16, 0xc0, 0xbf, 0x80, 0x3f)).containsExactly(-1.5f, 1f);
    assertThat(decode(DType.F8_E4M3, 0xbc, 0x38)).containsExactly(-1.5f, 1f);
    assertThat(decode(DType.F8_E5M2, 0xbe, 0x3c)).containsExactly(-1.5f, 1f);
    assertThat(decode(DType.F8_E8M0, 127, 130)).containsExactly(1f, 8f);
    assertThat(decode(DType.F32)).isEmpty();
    Refusal.of(() -> decode(DType.I32, 0, 0, 0, 0)).says("dtype: got I32");
    Refusal.of(() -> decode(DType.F4, 0)).says("dtype: got F4");
    Refusal.of(() -> decode(DType.F32, 0, 0, 0)).says("F32 data: got 3 bytes");
  }

  private static float[] decode(DType dtype, int... bytes) {
    byte[] data = new byte[bytes.length];
    for (int i = 0; i < data.length; i++) {
      data[i] = (byte) bytes[i];
    }
    return Floats.decode(dtype, MemorySegment.ofArray(data));
  }

  /** Bit-equal, so that zeros keep their sign; any NaN equals any other. */
  private static void assertSame(float got, float expected, int bits) {
    assertThat(Float.floatToIntBits(got))
        .as("pattern 0x%x: %s, not %s", bits, expected, got)
        .isEqualTo(Float.floatToIntBits(expected));
  }
}
