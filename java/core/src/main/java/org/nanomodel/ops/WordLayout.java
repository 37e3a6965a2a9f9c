package org.nanomodel.ops;

import org.nanomodel.tensor.DataType;

/**
 * How words hold codes in layouts that keep scales and zeros in tensors of their own; the rules are
 * those of nm_word_layout of nanomodel.h.
 */
public enum WordLayout {
  /** Each row is a bit stream of its own: I32 [N, ceil(K * bits / 32)]. */
  ROWS(DataType.I32, 1, 1),
  /** I16 [N/4, K], 4 bits. */
  GEMV_FAST(DataType.I16, 4, 64),
  /** I32 [K/16, 2N], 4 bits. */
  MARLIN(DataType.I32, 64, 16),
  /** As MARLIN, in another order; signed nibbles. */
  QQQ_CHANNEL(DataType.I32, 64, 16),
  /** As MARLIN, in another order. */
  QQQ_GROUP(DataType.I32, 64, 16);

  private final DataType words;
  private final long rows;
  private final long columns;

  WordLayout(DataType words, long rows, long columns) {
    this.words = words;
    this.rows = rows;
    this.columns = columns;
  }

  /** The type of a word. */
  public DataType words() {
    return words;
  }

  /** N is a multiple of it. */
  public long rowMultiple() {
    return rows;
  }

  /** K is a multiple of it. */
  public long columnMultiple() {
    return columns;
  }

  /** The shape of the words of codes [n, k]. */
  public long[] shape(long n, long k, int bits) {
    return switch (this) {
      case ROWS -> new long[] {n, Math.ceilDiv(Math.multiplyExact(k, (long) bits), 32L)};
      case GEMV_FAST -> new long[] {n / 4, k};
      default -> new long[] {k / 16, Math.multiplyExact(2L, n)};
    };
  }

  int nativeCode() {
    return ordinal();
  }
}
