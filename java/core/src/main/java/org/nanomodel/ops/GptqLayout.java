package org.nanomodel.ops;

import org.nanomodel.tensor.DataType;

/**
 * How GPTQ tensors hold codes and zeros, see nm_gptq_args of nanomodel.h.
 *
 * @param words I32, I16 or I8: what the streams are cut into
 * @param planar blocks of 32 codes in bit planes, of I32 words
 * @param zeroOffset 1: zeros are stored minus one (v1); 0: exactly (v2)
 */
public record GptqLayout(DataType words, boolean planar, int zeroOffset) {
  public static final GptqLayout V1 = new GptqLayout(DataType.I32, false, 1);
  public static final GptqLayout V2 = new GptqLayout(DataType.I32, false, 0);

  public GptqLayout {
    boolean known = words == DataType.I32 || words == DataType.I16 || words == DataType.I8;
    if (!known || planar && words != DataType.I32) {
      throw new IllegalArgumentException("words of " + words + (planar ? " in planes" : ""));
    }
  }

  public int wordBits() {
    return 8 * words.bytes();
  }

  /** Words of a stream of {@code count} codes; the last may be part empty. */
  public long words(long count, int bits) {
    return planar
        ? Math.multiplyExact(Math.ceilDiv(count, 32L), (long) bits)
        : Math.ceilDiv(Math.multiplyExact(count, (long) bits), (long) wordBits());
  }

  public GptqLayout withZeroOffset(int offset) {
    return new GptqLayout(words, planar, offset);
  }
}
