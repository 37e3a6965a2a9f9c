package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Optional;
import org.nanomodel.NativeException;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Config;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.Tensor;

/**
 * SmoothQuant (Xiao et al. 2022): {@link Smoothing} of the linears that norms feed, then each
 * weight is rounded to nearest. The loss is |W - Wq| / |W| of the smoothed weight.
 */
final class SmoothLayers implements LayerMethod {
  private final ModelDirectory source;
  private final Config model;
  private final Smoothing smoothing;
  private final Ops ops;
  private final PhaseClock clock;

  SmoothLayers(ModelDirectory source, Smoothing smoothing, Ops ops, PhaseClock clock) {
    this.source = source;
    this.model = source.config();
    this.smoothing = smoothing;
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
      smoothing.fold(layer, weights);
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

  @Override
  public void close() {}
}
