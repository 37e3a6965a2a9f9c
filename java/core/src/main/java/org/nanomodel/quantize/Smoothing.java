package org.nanomodel.quantize;

import java.util.List;
import org.nanomodel.model.Config;
import org.nanomodel.model.ModuleTree;
import org.nanomodel.tensor.Tensor;

/**
 * The scales of SmoothQuant (Xiao et al. 2022), so that activations can be rounded as well as
 * weights: part of what makes an input channel large goes into the weights that read it. For
 * linears that share an input,
 *
 * <pre>s = max(max|x|^alpha / max|w|^(1-alpha), 1e-5)</pre>
 *
 * divides what feeds them and multiplies the columns of their weights; max|w| is over all rows of
 * all of them. A norm can be divided; QQQ (Zhang et al. 2024) divides the rows of a linear too.
 */
final class Smoothing {
  private static final float LEAST = 1e-5f;

  private final Config model;
  private final ActivationScales activations;
  private final double alpha;
  private final boolean intoLinears;

  /**
   * @param intoLinears whether linears that feed others take part, or norms alone
   */
  Smoothing(Config model, ActivationScales activations, double alpha, boolean intoLinears) {
    this.model = model;
    this.activations = activations;
    this.alpha = alpha;
    this.intoLinears = intoLinears;
  }

  /**
   * Folds the scales of a layer in, where a group has modules to quantize; the others of the group
   * are scaled with them.
   */
  void fold(QuantizePlan.Layer layer, FoldedWeights weights) {
    for (var group : model.tree().groups()) {
      var names = model.tree().modules(layer.number(), group);
      if (layer.modules().stream().anyMatch(m -> names.contains(m.name()))) {
        fold(layer.number(), group, names, weights);
      }
    }
  }

  private void fold(int layer, ModuleTree.Group group, List<String> names, FoldedWeights weights) {
    ScaleFold.of(model, layer, group)
        .filter(fold -> intoLinears || fold.fedByNorm())
        .ifPresent(fold -> {
          List<Tensor> of = names.stream().map(weights::matrix).toList();
          float[] x = activations.of(names.getFirst(), of.getFirst().cols());
          fold.apply(weights, scales(fold.largest(x), fold.largest(columnMaxima(of)), alpha));
        });
  }

  static float[] scales(float[] x, float[] w, double alpha) {
    var s = new float[x.length];
    for (int k = 0; k < s.length; k++) {
      double read = Math.pow(Math.max(w[k], LEAST), 1 - alpha);
      s[k] = Math.max((float) (Math.pow(x[k], alpha) / read), LEAST);
    }
    return s;
  }

  private static float[] columnMaxima(List<Tensor> weights) {
    var most = new float[Math.toIntExact(weights.getFirst().cols())];
    for (Tensor w : weights) {
      for (long n = 0; n < w.rows(); n++) {
        for (int k = 0; k < most.length; k++) {
          most[k] = Math.max(most[k], Math.abs(w.getFloat(n, k)));
        }
      }
    }
    return most;
  }
}
