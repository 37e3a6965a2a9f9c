package org.nanomodel.quantize;

import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.Tensor;

/** A method on its way through the layers of a plan, in order; each layer comes once. */
interface LayerMethod extends AutoCloseable {
  /** What became of a module. */
  record Outcome(
      QuantizedWeight weight,
      double loss,
      long samples,
      double damp,
      double seconds,
      Optional<String> fallback) {

    ModuleResult result(int layer, QuantizePlan.Module module) {
      var scheme = module.scheme();
      return new ModuleResult(
          layer,
          module.name(),
          scheme.bits(),
          scheme.groupSize(),
          loss,
          samples,
          damp,
          seconds,
          fallback);
    }
  }

  /**
   * Takes modules as they are done; ends the walk, with an exception, when the job is cancelled.
   */
  interface Sink {
    /** The weight is not needed after the call. */
    void done(QuantizePlan.Module module, Outcome outcome);

    /** A tensor that takes the place of the source's of that name, or of an adapter; copied. */
    void put(TensorSpec name, Tensor tensor);
  }

  /** Quantizes the modules of a layer. */
  void quantize(QuantizePlan.Layer layer, Sink sink);

  /**
   * A layer that an earlier run finished.
   *
   * @param tensors what it wrote
   */
  void takeOver(QuantizePlan.Layer layer, Path tensors);

  @Override
  void close();
}
