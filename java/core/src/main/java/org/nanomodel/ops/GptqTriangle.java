package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * H = R R^T of GPTQ, R upper triangular, as {@code nm_gptq_factor} of nanomodel.h makes it: all
 * that the column loop needs. Square matrices lie in strips of 48 columns; see there.
 *
 * @param k columns of the weight
 * @param factor F32: R[i,c] / R[c,c]
 * @param crossFactor F32: what GPTAQ adds, or null
 * @param pivots F32 [K]: R[c,c]; 0 = a dead channel
 * @param perm I32 [K]: the column at each place of the order
 */
public record GptqTriangle(long k, Tensor factor, Tensor crossFactor, Tensor pivots, Tensor perm) {

  public GptqTriangle {
    Checks.f32Vector("GptqTriangle", "factor", factor, triangle(k));
    if (crossFactor != null) {
      Checks.f32Vector("GptqTriangle", "crossFactor", crossFactor, triangle(k));
    }
    Checks.f32Vector("GptqTriangle", "pivots", pivots, k);
    Checks.vector("GptqTriangle", "perm", perm, DataType.I32, k);
  }

  public static GptqTriangle allocate(Arena arena, long k, boolean cross) {
    return new GptqTriangle(
        k,
        Tensor.allocate(arena, DataType.F32, triangle(k)),
        cross ? Tensor.allocate(arena, DataType.F32, triangle(k)) : null,
        Tensor.allocate(arena, DataType.F32, k),
        Tensor.allocate(arena, DataType.I32, k));
  }

  /** Elements of an upper triangle of K columns in strips: about K^2 / 2. */
  public static long triangle(long k) {
    long strips = strips(k);
    return Math.multiplyExact(1152 * strips, strips + 1);
  }

  /** Elements of a full matrix of K columns in strips. */
  public static long square(long k) {
    long strips = strips(k);
    return Math.multiplyExact(2304 * strips, strips);
  }

  /** The symmetric matrix of an upper triangle in strips, F32 [K, K]. */
  public static Tensor dense(Arena arena, Tensor triangle, long k) {
    Checks.vector("GptqTriangle.dense", "triangle", triangle, DataType.F64, triangle(k));
    Tensor square = Tensor.allocate(arena, DataType.F32, k, k);
    for (long j = 0; j < k; j++) {
      long strip = j / 48;
      long column = 1152 * strip * (strip + 1) + j % 48;
      for (long i = 0; i <= j; i++) {
        float x = (float) triangle.segment().get(ValueLayout.JAVA_DOUBLE, 8 * (column + 48 * i));
        square.setFloat(i, j, x);
        square.setFloat(j, i, x);
      }
    }
    return square;
  }

  private static long strips(long k) {
    if (k < 1 || k > Integer.MAX_VALUE) {
      throw new IllegalArgumentException("K = " + k + ", expected 1 to 2^31 - 1");
    }
    return Math.ceilDiv(k, 48);
  }

  /**
   * How H is made of a Gram matrix.
   *
   * @param rows rows of input that the Gram matrix is the sum of
   * @param groupSize 1..K, for the group-aware order
   * @param alpha weight of GPTAQ's term
   */
  public record Damping(
      Order order, long rows, long groupSize, double damp, double dampIncrement, double alpha) {}

  /** The columns as they come, by falling diagonal, or sorted within and by groups. */
  public enum Order {
    NONE,
    DESC_ACT,
    GROUP_AWARE
  }

  /**
   * What it took.
   *
   * @param damp -1 when no damp and no floor gave positive pivots
   * @param floor of the diagonal; 0 = none
   */
  public record Used(double damp, double floor) {}

  /**
   * How the column loop takes ranges.
   *
   * @param scaleType scales are rounded to it before codes are taken
   * @param staticGroups from W as it came
   * @param refresh from weights updated to the last multiple of 8 columns instead of 128, and
   *     narrowed to the least loss
   * @param mse > 0: searched for the least sum of |error|^mse
   */
  public record Ranges(
      Symmetry sym, DataType scaleType, boolean staticGroups, boolean refresh, float mse) {}
}
