package org.nanomodel.quantize;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.tensor.Tensor;

/** Plain arithmetic on F32 matrices of one shape; sums are float64. */
final class Sums {
  private Sums() {}

  /** Sum of a * b. */
  static double product(Tensor a, Tensor b) {
    var x = new float[Math.toIntExact(a.cols())];
    var y = new float[x.length];
    double sum = 0;
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      read(b, r, y);
      for (int k = 0; k < x.length; k++) {
        sum += (double) x[k] * y[k];
      }
    }
    return sum;
  }

  /** Sum of (a - b)^2. */
  static double squaredDifference(Tensor a, Tensor b) {
    var x = new float[Math.toIntExact(a.cols())];
    var y = new float[x.length];
    double sum = 0;
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      read(b, r, y);
      for (int k = 0; k < x.length; k++) {
        double d = x[k] - y[k];
        sum += d * d;
      }
    }
    return sum;
  }

  /** a -= b. */
  static void subtract(Tensor a, Tensor b) {
    var x = new float[Math.toIntExact(a.cols())];
    var y = new float[x.length];
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      read(b, r, y);
      for (int k = 0; k < x.length; k++) {
        x[k] -= y[k];
      }
      write(a, r, x);
    }
  }

  /** a = -a. */
  static void negate(Tensor a) {
    var x = new float[Math.toIntExact(a.cols())];
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      for (int k = 0; k < x.length; k++) {
        x[k] = -x[k];
      }
      write(a, r, x);
    }
  }

  /** a[:,k] /= s[k]. */
  static void divideColumns(Tensor a, float[] s) {
    var x = new float[s.length];
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      for (int k = 0; k < x.length; k++) {
        x[k] /= s[k];
      }
      write(a, r, x);
    }
  }

  /** a[:,k] *= s[k]. */
  static void multiplyColumns(Tensor a, float[] s) {
    var x = new float[s.length];
    for (long r = 0; r < a.rows(); r++) {
      read(a, r, x);
      for (int k = 0; k < x.length; k++) {
        x[k] *= s[k];
      }
      write(a, r, x);
    }
  }

  private static void write(Tensor to, long row, float[] from) {
    MemorySegment.copy(
        from,
        0,
        to.segment(),
        ValueLayout.JAVA_FLOAT_UNALIGNED,
        4 * row * to.rowStride(),
        from.length);
  }

  private static void read(Tensor from, long row, float[] to) {
    MemorySegment.copy(
        from.segment(),
        ValueLayout.JAVA_FLOAT_UNALIGNED,
        4 * row * from.rowStride(),
        to,
        0,
        to.length);
  }
}
