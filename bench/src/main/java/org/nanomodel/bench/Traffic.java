package org.nanomodel.bench;

import java.util.Locale;

/**
 * What a call does to memory; arrays are as long as each other. As in bench/native/bench_roofs.h.
 */
enum Traffic {
  /** x. */
  READ(1, 1),
  /** x = f(x). */
  UPDATE(1, 2),
  /** y = f(x). */
  COPY(2, 2),
  /** x = f(x, z). */
  MERGE(2, 3),
  /** y = f(x, z). */
  COMBINE(3, 3);

  /** Arrays that are there. */
  final int arrays;

  /** Arrays read and written. */
  final int moves;

  Traffic(int arrays, int moves) {
    this.arrays = arrays;
    this.moves = moves;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
