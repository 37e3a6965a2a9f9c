package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import org.nanomodel.NativeException;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Config;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.Tensor;

/**
 * SmoothQuant (Xiao et al. 2022), so that activations can be rounded as well as weights: part of
 * what makes an input channel large goes into the weights that read it. For the linears that a norm
 * feeds,
 *
 * <pre>s = max(max|x|^alpha / max|w|^(1-alpha), 1e-5)</pre>
 *
 * divides the norm and multiplies the columns of their weights; max|w| is over all rows of all of
 * them. Then each weight is rounded to nearest. The loss is |W - Wq| / |W| of the smoothed weight.
 */
final class SmoothLayers implements LayerMethod {
  private static final float LEAST = 1e-5f;

  private final ModelDirectory source;
  private final Config model;
  private final ActivationScales activations;
  private final double alpha;
  private final Ops ops;
  private final PhaseClock clock;

  SmoothLayers(
      ModelDirectory source,
      ActivationScales activations,
      double alpha,
      Ops ops,
      PhaseClock clock) {
    this.source = source;
    this.model = source.config();
    this.activations = activations;
    this.alpha = alpha;
    this.ops = ops;
    this.clock = clock;
  }

  @Override
  public void takeOver(QuantizePlan.Layer layer, Path tensors) {}

  @Override
  public void quantize(QuantizePlan.Layer layer, Sink sink) {
    var floats = new LayerFloats(source);
    if (layer.number() == model.layers()) { // the head, whose norm is no block's
      new RtnLayers(floats, ops, clock).quantize(layer, sink);
      return;
    }
    try (var arena = Arena.ofConfined()) {
      var weights = new FoldedWeights(source, ops, arena);
      smooth(layer, weights);
      for (var module : layer.modules()) {
        long start = System.nanoTime();
        try (var scratch = Arena.ofConfined()) {
          Tensor w = weights.matrix(module.name());
          QuantizedWeight q = Rtn.quantize(scratch, ops, w, module.scheme(), module.scaleType());
          double loss = Rtn.relativeError(ops, w, q);
          clock.since(start, PhaseClock.Phase.COLUMNS);
          double seconds = PhaseClock.secondsSince(start);
          sink.done(module, new Outcome(q, loss, 0, 0, seconds, Optional.empty()));
        } catch (NativeException e) {
          throw floats.named(module.name(), e);
        }
      }
      var made = new HashSet<>(layer.modules().stream().map(QuantizePlan.Module::name).toList());
      weights.stored(arena, made).forEach(sink::put);
    }
  }

  /** Where a group has modules to quantize; the others of the group are scaled with them. */
  private void smooth(QuantizePlan.Layer layer, FoldedWeights weights) {
    for (var group : model.tree().groups()) {
      var names = model.tree().modules(layer.number(), group);
      boolean wanted = layer.modules().stream().anyMatch(m -> names.contains(m.name()));
      ScaleFold.of(model, layer.number(), group)
          .filter(fold -> wanted && fold.fedByNorm())
          .ifPresent(fold -> {
            List<Tensor> of = names.stream().map(weights::matrix).toList();
            float[] x = activations.of(names.getFirst(), of.getFirst().cols());
            fold.apply(weights, scales(x, columnMaxima(of), alpha));
          });
    }
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

  @Override
  public void close() {}
}
