package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.nanomodel.ops.GptqTriangle;

/**
 * What one Gram matrix becomes before columns are quantized: their order and the triangular factor
 * of the damped H. Modules that share an input and options share one. Memory: 2 K^2 bytes in the
 * arena it was made in.
 */
public final class GptqFactor {
  private final GptqTriangle triangle;
  private final GptqTriangle.Used used;
  private final GptqOptions options;
  private final long rows;

  GptqFactor(GptqTriangle triangle, GptqTriangle.Used used, GptqOptions options, long rows) {
    this.triangle = triangle;
    this.used = used;
    this.options = options;
    this.rows = rows;
  }

  /** Columns of the weights that it serves. */
  public long k() {
    return triangle.k();
  }

  /** Rows of calibration behind it. */
  public long rows() {
    return rows;
  }

  /** The damp that served: that of the options, or more; -1 when none did. */
  public double damp() {
    return used.damp();
  }

  /** What the diagonal was raised to before damp served; 0 as a rule. */
  public double floor() {
    return used.floor();
  }

  /** Why weights will be rounded plainly; empty as a rule. */
  public Optional<String> fallback() {
    if (used.damp() >= 0) {
      return Optional.empty();
    }
    return Optional.of(
        rows == 0
            ? "no row of calibration reached the module"
            : "H of "
                + rows
                + " rows is not positive definite, whatever was added to its diagonal: more and"
                + " longer calibration text may help");
  }

  /** Input channels that were 0 in every row; their weights become 0. */
  public long deadChannels() {
    long dead = 0;
    for (long i = 0; i < k(); i++) {
      dead += triangle.pivots().segment().getAtIndex(ValueLayout.JAVA_FLOAT, i) == 0 ? 1 : 0;
    }
    return dead;
  }

  /** The column at each place of the order. */
  public int[] perm() {
    return triangle.perm().toInts();
  }

  GptqTriangle triangle() {
    return triangle;
  }

  /** Whether it was made for such columns and groups. */
  void check(GptqOptions o) {
    if (o.order() != options.order()
        || o.order() == GptqTriangle.Order.GROUP_AWARE && o.groupOf(k()) != options.groupOf(k())) {
      throw new IllegalArgumentException(
          "the factor was made for order "
              + options.order()
              + " and group size "
              + options.groupSize()
              + ", got "
              + o.order()
              + " and "
              + o.groupSize());
    }
  }

  /** The group of each column where the order decides it; null for k / groupSize. */
  MemorySegment gIdx(Arena arena, GptqOptions o) {
    if (!o.descAct() || o.staticGroups() || fallback().isPresent()) {
      return null;
    }
    MemorySegment groups = arena.allocate(ValueLayout.JAVA_INT, k());
    int[] perm = perm();
    for (int i = 0; i < perm.length; i++) {
      groups.setAtIndex(ValueLayout.JAVA_INT, perm[i], (int) (i / o.groupOf(k())));
    }
    return groups;
  }
}
