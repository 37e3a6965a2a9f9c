package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.Method;
import org.nanomodel.NativeException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.StoredWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.quantize.LayerMethod.Outcome;
import org.nanomodel.quantize.LayerMethod.Sink;
import org.nanomodel.tensor.Tensor;

/**
 * Quantizes the modules of one group, which share an input, by its Gram matrix: GPTQ or GPTAQ, or
 * rounding, and EoRA's adapter where there is to be one.
 */
final class GroupSolver {
  /** Modules of a group that can share a factor. */
  private record FactorKey(
      long groupSize,
      boolean descAct,
      boolean actGroupAware,
      double damp,
      double increment,
      double alpha) {
    static FactorKey of(GptqOptions o, double alpha) {
      return new FactorKey(
          o.groupSize(),
          o.descAct(),
          o.actGroupAware(),
          o.dampPercent(),
          o.dampAutoIncrement(),
          alpha);
    }
  }

  /** What became of a module: floats only while it takes its place, one at a time. */
  record Made(StoredWeight weight, Optional<Eora.Halves> adapter) {
    /** What runs in the place of the float weight, F32 [N, K]. */
    Tensor floats(Arena arena, Ops ops) {
      Tensor w = weight.floats(arena, arena, ops);
      adapter.ifPresent(halves -> halves.addTo(ops, w));
      return w;
    }
  }

  private final QuantizeConfig config;
  private final Codec codec;
  private final LayerFloats floats;
  private final Eora eora;
  private final Ops ops;
  private final PhaseClock clock;

  GroupSolver(QuantizeConfig config, LayerFloats floats, Ops ops, PhaseClock clock) {
    this.config = config;
    this.codec = Codec.of(config.format());
    this.floats = floats;
    this.eora = new Eora(config, ops, clock);
    this.ops = ops;
    this.clock = clock;
  }

  /**
   * Quantizes modules.
   *
   * @param arena of what comes out
   * @param weights the float weights
   * @param gatherSeconds what the Gram matrix took, to be shared by the modules
   */
  Map<String, Made> solve(
      Arena arena,
      List<QuantizePlan.Module> modules,
      FoldedWeights weights,
      Gram gram,
      double gatherSeconds,
      Sink sink) {
    var made = new HashMap<String, Made>();
    var factors = new HashMap<FactorKey, GptqFactor>();
    for (var module : modules) {
      long start = System.nanoTime();
      try (var scratch = Arena.ofConfined()) {
        Tensor w = weights.floats(scratch, module.name());
        var result = quantize(arena, module, w, gram, factors);
        boolean fell = result.fallback().isPresent();
        boolean plain = fell || config.method() == Method.RTN;
        double loss = plain ? Rtn.relativeError(ops, w, result.weight()) : result.loss();
        var stored = codec.stored(arena, result.weight(), module.scheme());
        var adapter = eora.of(arena, module, w, stored, gram);
        adapter.ifPresent(halves -> halves.into(sink, module));
        made.put(module.name(), new Made(stored, adapter));
        double seconds = PhaseClock.secondsSince(start) + gatherSeconds / modules.size();
        double damp = plain ? 0 : result.damp();
        sink.done(
            module,
            new Outcome(result.weight(), loss, gram.rows(), damp, seconds, result.fallback()));
      } catch (NativeException e) {
        throw floats.named(module.name(), e);
      }
    }
    return made;
  }

  private Gptq.GptqResult quantize(
      Arena arena,
      QuantizePlan.Module module,
      Tensor w,
      Gram gram,
      Map<FactorKey, GptqFactor> factors) {
    long start = System.nanoTime();
    if (config.method() == Method.RTN) {
      var weight = Rtn.quantize(arena, ops, w, module.scheme(), module.scaleType());
      clock.since(start, PhaseClock.Phase.COLUMNS);
      return new Gptq.GptqResult(weight, Double.NaN, 0, Optional.empty());
    }
    var options = config.gptqOptions(module.name(), module.scaleType());
    double alpha = config.gptq(module.name()).gptaqAlpha();
    GptqFactor factor =
        factors.computeIfAbsent(
            FactorKey.of(options, alpha), k -> Gptq.factor(arena, ops, gram, options, alpha));
    long factored = clock.since(start, PhaseClock.Phase.FACTOR);
    var result = Gptq.quantize(arena, ops, w, factor, options);
    clock.since(factored, PhaseClock.Phase.COLUMNS);
    return result;
  }
}
