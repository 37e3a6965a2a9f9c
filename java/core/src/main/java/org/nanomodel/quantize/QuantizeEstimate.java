package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.Optional;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.model.Config;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * What a job will need, roughly, before it begins.
 *
 * @param memoryBytes resident at its peak, the Java runtime included
 * @param diskBytes of finished layers, checkpoint and, where they go there, hidden states
 * @param seconds by the speed of a matrix product that was timed for it
 */
public record QuantizeEstimate(long memoryBytes, long diskBytes, double seconds) {
  private static final long RUNTIME_BYTES = 120L << 20;
  private static final double ROUNDING_PER_SECOND = 50e6; // weights rounded, packed, written

  static QuantizeEstimate of(
      QuantizePlan plan,
      QuantizeConfig config,
      Config model,
      Optional<Calibration> calibration,
      boolean offload,
      Engine engine) {
    long disk = plan.quantizedBytes() + plan.bytes() + 2 * plan.adapterBytes(config);
    double seconds = plan.quantizedParameters() / ROUNDING_PER_SECOND;
    long largest = plan.modules().stream().mapToLong(m -> m.n() * m.k()).max().orElse(0);
    if (!config.isCalibrated() || calibration.isEmpty()) {
      return new QuantizeEstimate(RUNTIME_BYTES + 6 * largest, disk, seconds);
    }
    long tokens = calibration.get().tokens();
    long widest = plan.modules().stream().mapToLong(QuantizePlan.Module::k).max().orElse(0);
    long layer = plan.layers().stream().mapToLong(QuantizeEstimate::weights).max().orElse(0);
    long states = 4 * tokens * (model.hiddenSize() + widest + model.hiddenSize());
    // the layer in float and, as it is replaced, in float32; copies of the module in work
    long weights = (config.smooths() ? 12 : 8) * layer + 12 * largest;
    long memory =
        RUNTIME_BYTES
            + weights
            + Gram.byteSize(widest, false)
            + 2 * widest * widest
            + plan.modules().stream().mapToLong(m -> Eora.workBytes(config, m)).max().orElse(0)
            + (offload ? 0 : states);
    double work =
        plan.layers().stream().mapToDouble(l -> work(l, tokens)).sum()
            + plan.modules().stream().mapToDouble(m -> Eora.work(config, m)).sum();
    return new QuantizeEstimate(
        memory, disk + (offload ? states : 0), seconds + work / rate(engine));
  }

  private static long weights(QuantizePlan.Layer layer) {
    return layer.modules().stream().mapToLong(m -> m.n() * m.k()).sum();
  }

  /** Operations of a layer: the pass, Gram matrices (half of modules share one), column loops. */
  private static double work(QuantizePlan.Layer layer, long tokens) {
    double work = 0;
    for (var m : layer.modules()) {
      double k = m.k();
      work += 2.6 * tokens * m.n() * k + 0.5 * tokens * k * k + m.n() * k * k + k * k * k / 6;
    }
    return work;
  }

  /** Operations a second of a product of the size of a chunk. */
  private static double rate(Engine engine) {
    int m = 256;
    int n = 512;
    try (var arena = Arena.ofConfined()) {
      Tensor x = Tensor.allocate(arena, DataType.F32, m, n);
      Tensor y = Tensor.allocate(arena, DataType.F32, m, n);
      Tensor w = Tensor.allocate(arena, DataType.F32, n, n);
      try (Linear linear =
          Linear.pack(engine, "speed", new FloatWeight(DataType.F32, n, n, w.segment()), null)) {
        long best = Long.MAX_VALUE;
        for (int i = 0; i < 4; i++) {
          long start = System.nanoTime();
          engine.ops().linear(y, x, linear);
          best = Math.min(best, System.nanoTime() - start);
        }
        return 2.0 * m * n * n / Math.max(1, best) * 1e9;
      }
    }
  }
}
