package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.NativeException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.Tensor;

/** Round to nearest: modules know nothing of each other. The loss is |W - Wq| / |W|. */
final class RtnLayers implements LayerMethod {
  private final LayerFloats floats;
  private final Ops ops;
  private final PhaseClock clock;

  RtnLayers(LayerFloats floats, Ops ops, PhaseClock clock) {
    this.floats = floats;
    this.clock = clock;
    this.ops = ops;
  }

  @Override
  public void quantize(QuantizePlan.Layer layer, Sink sink) {
    for (var module : layer.modules()) {
      long start = System.nanoTime();
      try (var scratch = Arena.ofConfined()) {
        Tensor w = floats.of(scratch, ops, module.name());
        QuantizedWeight q = Rtn.quantize(scratch, ops, w, module.scheme(), module.scaleType());
        double loss = Rtn.relativeError(ops, w, q);
        clock.since(start, PhaseClock.Phase.COLUMNS);
        double seconds = PhaseClock.secondsSince(start);
        sink.done(module, new Outcome(q, loss, 0, 0, seconds, Optional.empty()));
      } catch (NativeException e) {
        throw floats.named(module.name(), e);
      }
    }
  }

  @Override
  public void takeOver(QuantizePlan.Layer layer, Path tensors) {}

  @Override
  public void close() {}
}
