package org.nanomodel.quantize;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.nanomodel.tensor.Tensor;

/**
 * AWQ's scales (Lin et al. 2023): channels that carry large activations are scaled up before
 * rounding, so that they lose less, and their inputs down. Of a family with one parameter,
 *
 * <pre>s = |x|^r / (|w|^(1-r) + 1e-4),   r = 0, 1/20, ..., 19/20,</pre>
 *
 * the member that leaves the least error at an output is taken. |x| is the mean over all tokens,
 * |w| the mean over rows of weights relative to the largest of their group.
 */
final class Awq {
  private static final int STEPS = 20;
  private static final Set<String> NOT_CLIPPED =
      Set.of("q_", "k_", "query", "key", "qkv", "Wqkv", "c_attn");

  private Awq() {}

  /**
   * Whether a module is clipped: queries and keys are not, whose errors meet in a product and a
   * softmax where a sum over squares of outputs says little.
   */
  static boolean clips(String module) {
    String name = module.substring(module.lastIndexOf('.') + 1);
    return NOT_CLIPPED.stream().noneMatch(name::contains);
  }

  /** Mean over all rows of |w| / (largest of its group + 1e-6), for each column. */
  static double[] weightMeans(List<Tensor> weights, List<Long> groupSizes) {
    int k = Math.toIntExact(weights.getFirst().cols());
    var sum = new double[k];
    long rows = 0;
    for (int i = 0; i < weights.size(); i++) {
      Tensor w = weights.get(i);
      int group = Math.toIntExact(groupSizes.get(i));
      var row = new float[k];
      for (long n = 0; n < w.rows(); n++) {
        for (int j = 0; j < k; j++) {
          row[j] = Math.abs(w.getFloat(n, j));
        }
        addRelative(sum, row, group);
      }
      rows += w.rows();
    }
    long all = rows;
    return Arrays.stream(sum).map(s -> s / all).toArray();
  }

  private static void addRelative(double[] sum, float[] row, int group) {
    for (int from = 0; from < row.length; from += group) {
      int to = Math.min(from + group, row.length);
      float most = 0;
      for (int j = from; j < to; j++) {
        most = Math.max(most, row[j]);
      }
      for (int j = from; j < to; j++) {
        sum[j] += row[j] / (most + 1e-6);
      }
    }
  }

  /** The scales of one r, their largest and smallest as far from 1 as each other. */
  static float[] scales(double[] x, double[] w, double r) {
    var s = new double[x.length];
    for (int k = 0; k < s.length; k++) {
      s[k] = Math.max(Math.pow(x[k], r) / (Math.pow(w[k], 1 - r) + 1e-4), 1e-4);
    }
    double most = Arrays.stream(s).max().orElseThrow();
    double least = Arrays.stream(s).min().orElseThrow();
    double middle = Math.sqrt(most * least);
    var scales = new float[s.length];
    for (int k = 0; k < s.length; k++) {
      float scale = (float) (s[k] / middle);
      scales[k] = scale > 0 && Float.isFinite(scale) ? scale : 1;
    }
    return scales;
  }

  /** No scaling at all, and that of each r. */
  private static Stream<float[]> candidates(double[] x, double[] w) {
    var ones = new float[x.length];
    Arrays.fill(ones, 1);
    return Stream.concat(
        Stream.of(ones), IntStream.range(0, STEPS).mapToObj(i -> scales(x, w, (double) i / STEPS)));
  }

  /** The candidate with the least error; the first of equal ones. */
  static float[] search(double[] x, double[] w, ToDoubleFunction<float[]> error) {
    float[] best = null;
    double least = Double.POSITIVE_INFINITY;
    for (float[] s : (Iterable<float[]>) candidates(x, w)::iterator) {
      double e = error.applyAsDouble(s);
      if (best == null || e < least) {
        best = s;
        least = e;
      }
    }
    return best;
  }
}
