package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.Optional;
import org.nanomodel.Method;
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
  private static final long RUNTIME_BYTES = 140_000_000; // the JVM, and holes between blocks
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
    var need = new Need(plan, config, model, TextChunks.of(calibration.get()));
    long states = need.states();
    long memory =
        RUNTIME_BYTES
            + Math.max(need.embedding(), need.weights() + need.matrices() + need.scratch())
            + plan.modules().stream().mapToLong(m -> Eora.workBytes(config, m)).max().orElse(0)
            + (offload ? 0 : states);
    long tokens = calibration.get().tokens();
    int passes = config.method() == Method.GPTAQ ? 2 : 1;
    double work =
        plan.layers().stream().mapToDouble(l -> work(l, passes * tokens)).sum()
            + plan.modules().stream().mapToDouble(m -> Eora.work(config, m)).sum();
    return new QuantizeEstimate(
        memory, disk + (offload ? states : 0), seconds + work / rate(engine));
  }

  /** The memory of a calibrated job, part by part, in bytes. */
  private record Need(QuantizePlan plan, QuantizeConfig config, Config model, TextChunks chunks) {
    /** Whether the method is another than GPTQ: AWQ and smoothing keep inputs of their own. */
    private boolean keepsInputs() {
      return !config.method().isGptq() && config.method() != Method.RTN;
    }

    private int models() {
      return config.method() == Method.GPTAQ ? 2 : 1; // the float one runs beside
    }

    private long widest() {
      return plan.modules().stream().mapToLong(QuantizePlan.Module::k).max().orElse(0);
    }

    private long largest() {
      return plan.modules().stream().mapToLong(m -> m.n() * m.k()).max().orElse(0);
    }

    /** Hidden states, and the inputs at which the next pass through a block goes on. */
    long states() {
      long inputs = config.gptq().trueSequential() ? widest() : 0;
      long width = keepsInputs() ? 2L * model.hiddenSize() + widest() : model.hiddenSize() + inputs;
      return models() * 4 * chunks.tokens() * width;
    }

    /** A table that is gone before the first block comes. */
    long embedding() {
      return 4L * model.vocabSize() * model.hiddenSize();
    }

    /** A layer in float32, and copies of the modules in work: a linear packed anew, its codes. */
    long weights() {
      long layer = plan.layers().stream().mapToLong(QuantizeEstimate::weights).max().orElse(0);
      if (keepsInputs()) {
        return 8 * layer + 12 * largest() + (config.smooths() ? 4 * layer : 0);
      }
      return (models() + (config.smooths() ? 1 : 0)) * 4 * layer + 9 * group() + 4 * largest();
    }

    /** Weights of modules that share an input, the most of them. */
    private long group() {
      return plan.layers().stream()
          .flatMapToLong(layer ->
              model.tree().groups().stream()
                  .map(group -> model.tree().modules(layer.number(), group))
                  .mapToLong(names ->
                      layer.modules().stream()
                          .filter(m -> names.contains(m.name()))
                          .mapToLong(m -> m.n() * m.k())
                          .sum()))
          .max()
          .orElse(0);
    }

    /** A Gram matrix, what its factorization works on, the factor. */
    long matrices() {
      boolean paired = models() > 1;
      long k = widest();
      return Gram.byteSize(k, paired) + Gram.byteSize(k, false) + (paired ? 4 : 2) * k * k;
    }

    /** The tensors between the ops of a block, keys and values. */
    long scratch() {
      long width = 3L * model.hiddenSize() + model.queryDim() + 4L * model.kvDim();
      return models() * 4 * chunks.maxTokens() * (width + 2L * model.ffnSize());
    }
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
