package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * How the zeros of a GPTQ module are stored: exactly (v2), minus one lane by lane (v1), or v1 as
 * GPTQModel converts it, by subtracting a constant from each whole 32-bit word. The last equals v1
 * while no zero is 0; where one is, it borrows from the lane above, and only adding the same
 * constant gives the zeros back. Before 7.0 its three 3-bit constants were in the wrong order, so
 * that the words are no v1 at all; a symmetric checkpoint shows it by its words.
 */
record ZeroLayout(int zeroOffset, int[] wordConstants) {
  private static final int[] NONE = {};
  private static final int[] OLD_3_BIT = {0x24924924, 0x92492492, 0x49249249};
  private static final int[] OLD_3_BIT_SYMMETRIC = {0x00000000, 0xb6db6db7, 0x49249249};
  private static final int[] TRUE_3_BIT_SYMMETRIC = {0xdb6db6db, 0xb6db6db6, 0x6db6db6d};
  private static final String GPTQMODEL = "gptqmodel:";
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

  static ZeroLayout of(QuantizationConfig config, ModuleScheme scheme, Tensor qzeros, long n) {
    if (!config.storesZeroMinusOne()) {
      return new ZeroLayout(0, NONE);
    }
    Optional<String> gptqmodel =
        config.quantizers().stream().filter(q -> q.startsWith(GPTQMODEL)).findFirst();
    if (scheme.bits() == 3 && n % 32 == 0) {
      boolean old =
          startsWith(qzeros, OLD_3_BIT_SYMMETRIC)
              || gptqmodel.map(ZeroLayout::beforeSeven).orElse(false)
                  && !startsWith(qzeros, TRUE_3_BIT_SYMMETRIC);
      return old ? new ZeroLayout(0, OLD_3_BIT) : new ZeroLayout(1, NONE);
    }
    // narrower words take the low part of the constant
    boolean wholeWords = gptqmodel.isPresent() && !scheme.sym();
    return switch (wholeWords ? scheme.bits() : 0) {
      case 2 -> new ZeroLayout(0, new int[] {0x55555555});
      case 4 -> new ZeroLayout(0, new int[] {0x11111111});
      case 8 -> new ZeroLayout(0, new int[] {0x01010101});
      default -> new ZeroLayout(1, NONE);
    };
  }

  private static boolean beforeSeven(String quantizer) {
    String major = quantizer.substring(GPTQMODEL.length()).split("[^0-9]", 2)[0];
    return !major.isEmpty() && major.length() < 4 && Integer.parseInt(major) < 7;
  }

  private static boolean startsWith(Tensor qzeros, int[] words) {
    for (int i = 0; i < words.length; i++) {
      if (qzeros.segment().get(INT, 4L * i) != words[i]) {
        return false;
      }
    }
    return true;
  }

  /** The words as a reader of {@link #zeroOffset} wants them, at an aligned address. */
  Tensor corrected(Arena arena, Tensor qzeros) {
    if (wordConstants.length == 0) {
      return StoredTensors.aligned(arena, qzeros);
    }
    Tensor sum = Tensor.allocate(arena, qzeros.type(), qzeros.shape());
    for (long i = 0; i < qzeros.count(); i++) {
      // a row is a whole number of triples where there are three constants
      int constant = wordConstants[(int) (i % wordConstants.length)];
      add(sum.segment(), qzeros.segment(), qzeros.type(), i, constant);
    }
    return sum;
  }

  private static void add(MemorySegment to, MemorySegment from, DataType word, long i, int value) {
    switch (word) {
      case I8 -> to.set(BYTE, i, (byte) (from.get(BYTE, i) + value));
      case I16 -> to.set(SHORT, 2 * i, (short) (from.get(SHORT, 2 * i) + value));
      default -> to.set(INT, 4 * i, from.get(INT, 4 * i) + value);
    }
  }
}
