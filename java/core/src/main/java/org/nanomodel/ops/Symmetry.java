package org.nanomodel.ops;

/** Where a range of codes has its zero; the order is that of {@code sym} in nanomodel.h. */
public enum Symmetry {
  /** Anywhere: a zero point for each group. */
  ZERO_POINT,
  /** At 2^(bits-1), scale 2 max|w| / (2^bits - 1): one code more below than above. */
  SYMMETRIC,
  /**
   * At 2^(bits-1), scale max|w| / (2^(bits-1) - 1): as many codes below as above, 0 is not used.
   */
  NARROW;

  /** What {@code sym} of a checkpoint means. */
  public static Symmetry of(boolean sym) {
    return sym ? SYMMETRIC : ZERO_POINT;
  }
}
