package org.nanomodel.ops;

/**
 * What is added to the product of a linear module: y += scale B (A x), as LoRA has it (Hu et al.
 * 2021).
 *
 * @param a [R, K]
 * @param b [N, R]
 */
public record LowRank(FloatWeight a, FloatWeight b, float scale) {
  public LowRank {
    Checks.that(a.n() == b.k(), "LowRank", "A and B have different ranks", b.k());
  }

  /** Input features. */
  public long k() {
    return a.k();
  }

  /** Output features. */
  public long n() {
    return b.n();
  }

  public long rank() {
    return a.n();
  }
}
