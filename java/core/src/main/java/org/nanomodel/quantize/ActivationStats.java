package org.nanomodel.quantize;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.tensor.Tensor;

/** Per channel of a module's input: the mean and the largest of |x| over all tokens. */
final class ActivationStats {
  private final float[] row;
  private final double[] sum;
  private final float[] max;
  private long tokens;

  ActivationStats(long k) {
    row = new float[Math.toIntExact(k)];
    sum = new double[row.length];
    max = new float[row.length];
  }

  /** Adds the rows of x, F32 [T, K]. */
  void add(Tensor x) {
    for (long t = 0; t < x.rows(); t++) {
      MemorySegment.copy(
          x.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * t * x.rowStride(), row, 0, row.length);
      for (int k = 0; k < row.length; k++) {
        float a = Math.abs(row[k]);
        sum[k] += a;
        max[k] = Math.max(max[k], a);
      }
    }
    tokens += x.rows();
  }

  double[] mean() {
    var mean = new double[sum.length];
    for (int k = 0; k < mean.length; k++) {
      mean[k] = sum[k] / tokens;
    }
    return mean;
  }

  float[] max() {
    return max.clone();
  }
}
