package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.nanomodel.Method;
import org.nanomodel.NativeException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.AdapterWriter;
import org.nanomodel.checkpoint.CheckpointScheme;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.QuantizedTensors;
import org.nanomodel.checkpoint.StoredWeight;
import org.nanomodel.model.Block;
import org.nanomodel.model.Config;
import org.nanomodel.model.HeadInput;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * GPTQ layer by layer (Frantar et al. 2022): the calibration texts run through the quantized layers
 * before, group by group of modules that share an input its Gram matrix is gathered, the modules
 * are quantized and take the places of the float ones, and the next group sees what they make of it
 * (true sequential). One block is in memory, and one vector for each token.
 *
 * <p>Hidden states are not saved: layers that an earlier run finished are run again from the codes
 * it wrote, which costs one forward pass each, a small part of quantizing them, gives the same
 * bits, and cannot be stale or torn.
 *
 * <p>Round to nearest walks along here too where its errors are to get adapters, which need the
 * Gram matrices.
 */
final class GptqLayers implements LayerMethod {
  private record Finished(QuantizePlan.Layer layer, Path tensors) {}

  /** Modules of a group that can share a factor. */
  private record FactorKey(
      long groupSize, boolean descAct, boolean actGroupAware, double damp, double increment) {
    static FactorKey of(GptqOptions o) {
      return new FactorKey(
          o.groupSize(), o.descAct(), o.actGroupAware(), o.dampPercent(), o.dampAutoIncrement());
    }
  }

  private final ModelDirectory source;
  private final QuantizeConfig config;
  private final CheckpointScheme scheme;
  private final LayerFloats floats;
  private final Eora eora;
  private final Ops ops;
  private final PhaseClock clock;
  private final Codec codec;
  private final Optional<Smoothing> smoothing;
  private final Config model;
  private final int last;
  private final BlockStage stage;
  private final List<Finished> pending = new ArrayList<>();
  private TokenRows states;

  /**
   * @param scheme of the checkpoint, to read finished layers by
   * @param smoothing what is folded into the weights before they are quantized
   * @param folder for hidden states, if they are not to be held in memory
   */
  GptqLayers(
      ModelDirectory source,
      QuantizeConfig config,
      QuantizePlan plan,
      CheckpointScheme scheme,
      Calibration calibration,
      Optional<Smoothing> smoothing,
      Ops ops,
      PhaseClock clock,
      Optional<Path> folder) {
    this.source = source;
    this.config = config;
    this.scheme = scheme;
    this.floats = new LayerFloats(source);
    this.eora = new Eora(config, ops, clock);
    this.ops = ops;
    this.clock = clock;
    this.codec = Codec.of(config.format());
    this.smoothing = smoothing;
    this.model = source.config();
    this.last = plan.layers().getLast().number();
    this.stage = new BlockStage(ops, model, TextChunks.of(calibration), folder);
  }

  @Override
  public void takeOver(QuantizePlan.Layer layer, Path tensors) {
    pending.add(new Finished(layer, tensors));
  }

  @Override
  public void quantize(QuantizePlan.Layer layer, Sink sink) {
    if (states == null) {
      states = stage.embed(source);
    }
    pending.forEach(this::replay);
    pending.clear();
    if (layer.number() == model.layers()) {
      head(layer.modules().getFirst(), sink);
      return;
    }
    try (var walk = new Walk(layer)) {
      List<List<QuantizePlan.Module>> groups = groups(layer);
      if (config.gptq().trueSequential()) {
        for (var group : groups) {
          walk.quantize(group, sink);
        }
      } else {
        walk.quantizeAtOnce(groups, sink);
      }
      walk.replaceFolded(sink);
      if (layer.number() < last) {
        walk.finish();
      }
    }
  }

  /** The modules to quantize, by the inputs that they share. */
  private List<List<QuantizePlan.Module>> groups(QuantizePlan.Layer layer) {
    return model.tree().groups().stream()
        .map(group -> Set.copyOf(model.tree().modules(layer.number(), group)))
        .map(names -> layer.modules().stream().filter(m -> names.contains(m.name())).toList())
        .filter(modules -> !modules.isEmpty())
        .toList();
  }

  private void replay(Finished finished) {
    try (var walk = new Walk(finished.layer());
        var stored = QuantizedTensors.open(finished.tensors(), scheme, source.configJson())) {
      for (var group : groups(finished.layer())) {
        try (var arena = Arena.ofConfined()) {
          var made = new HashMap<String, Made>();
          for (var module : group) {
            var weight = stored.weight(arena, ops, module.name());
            made.put(module.name(), new Made(weight, adapter(stored, module)));
          }
          walk.replace(made);
        }
      }
      walk.finish();
    }
  }

  /** What became of a module: floats only while it takes its place, one at a time. */
  private record Made(StoredWeight weight, Optional<Eora.Halves> adapter) {
    /** What runs in the place of the float weight, F32 [N, K]. */
    Tensor floats(Arena arena, Ops ops) {
      Tensor w = weight.floats(arena, arena, ops);
      adapter.ifPresent(halves -> halves.addTo(ops, w));
      return w;
    }
  }

  private Optional<Eora.Halves> adapter(QuantizedTensors stored, QuantizePlan.Module module) {
    long rank = Eora.rank(config, module);
    var a = AdapterWriter.a(module.name(), rank, module.k());
    var b = AdapterWriter.b(module.name(), module.n(), rank);
    return stored.find(a).map(tensor -> new Eora.Halves(tensor, stored.find(b).orElseThrow()));
  }

  /** The head, whose input is the normed output of the last block. */
  private void head(QuantizePlan.Module module, Sink sink) {
    long start = System.nanoTime();
    try (var input = HeadInput.load(ops.engine(), model, source);
        var gram = new Gram(module.k());
        var arena = Arena.ofConfined()) {
      for (var chunk : stage.chunks()) {
        gram.add(ops, input.forward(ops, stage.copy(states.of(chunk))));
      }
      var weights = new FoldedWeights(source, ops, arena);
      new Solver(arena, weights, gram, PhaseClock.secondsSince(start)).solve(List.of(module), sink);
    }
  }

  /** Quantizes the modules of one group by their common Gram matrix. */
  private final class Solver {
    private final Arena arena;
    private final FoldedWeights floatWeights;
    private final Gram gram;
    private final double gatherSeconds;
    private final Map<FactorKey, GptqFactor> factors = new HashMap<>();

    /**
     * @param arena of factors and of what comes out
     * @param gatherSeconds what the Gram matrix took, to be shared by the modules
     */
    Solver(Arena arena, FoldedWeights floatWeights, Gram gram, double gatherSeconds) {
      this.arena = arena;
      this.floatWeights = floatWeights;
      this.gram = gram;
      this.gatherSeconds = gatherSeconds;
    }

    /** What came out, in the solver's arena. */
    Map<String, Made> solve(List<QuantizePlan.Module> modules, Sink sink) {
      var made = new HashMap<String, Made>();
      for (var module : modules) {
        long start = System.nanoTime();
        try (var scratch = Arena.ofConfined()) {
          Tensor w = floatWeights.floats(scratch, module.name());
          var result = quantize(module, w);
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

    private Gptq.GptqResult quantize(QuantizePlan.Module module, Tensor w) {
      long start = System.nanoTime();
      if (config.method() == Method.RTN) {
        var weight = Rtn.quantize(arena, ops, w, module.scheme(), module.scaleType());
        clock.since(start, PhaseClock.Phase.COLUMNS);
        return new Gptq.GptqResult(weight, Double.NaN, 0, Optional.empty());
      }
      var options = config.gptqOptions(module.name(), module.scaleType());
      GptqFactor factor =
          factors.computeIfAbsent(
              FactorKey.of(options), k -> Gptq.factor(arena, ops, gram, options));
      long factored = clock.since(start, PhaseClock.Phase.FACTOR);
      var result = Gptq.quantize(arena, ops, w, factor, options);
      clock.since(factored, PhaseClock.Phase.COLUMNS);
      return result;
    }
  }

  /** A block with its walk; quantized linears in the places of float ones as they come. */
  private final class Walk implements AutoCloseable {
    private final Arena own = Arena.ofShared();
    private final QuantizePlan.Layer layer;
    private final FoldedWeights weights = new FoldedWeights(source, ops, own);
    private final Block block;
    private final BlockWalk walk;
    private final List<Linear> replacements = new ArrayList<>();

    Walk(QuantizePlan.Layer layer) {
      long start = System.nanoTime();
      this.layer = layer;
      smoothing.ifPresent(s -> s.fold(layer, weights));
      block = model.family().blocks().load(ops.engine(), model, weights, layer.number());
      walk = new BlockWalk(stage, block, states);
      clock.since(start, PhaseClock.Phase.LOAD);
    }

    void quantize(List<QuantizePlan.Module> group, Sink sink) {
      long start = System.nanoTime();
      long gathered = clock.of(PhaseClock.Phase.GRAM);
      try (var gram = new Gram(group.getFirst().k());
          var arena = Arena.ofConfined()) {
        walk.inputs(linears(group), into(gram));
        forward(start, gathered);
        double seconds = PhaseClock.secondsSince(start);
        replace(new Solver(arena, weights, gram, seconds).solve(group, sink));
      }
    }

    /** All groups by the inputs that float weights make. */
    void quantizeAtOnce(List<List<QuantizePlan.Module>> groups, Sink sink) {
      long start = System.nanoTime();
      long gathered = clock.of(PhaseClock.Phase.GRAM);
      var grams = new ArrayList<Gram>();
      try (var arena = Arena.ofConfined()) {
        var inputs = new ArrayList<BlockWalk.Inputs>();
        for (var group : groups) {
          var gram = new Gram(group.getFirst().k());
          grams.add(gram);
          inputs.add(into(gram));
        }
        walk.inputs(groups.stream().map(this::linears).toList(), inputs);
        forward(start, gathered);
        double seconds = PhaseClock.secondsSince(start) / groups.size();
        for (int i = 0; i < groups.size(); i++) {
          replace(new Solver(arena, weights, grams.get(i), seconds).solve(groups.get(i), sink));
        }
      } finally {
        grams.forEach(Gram::close);
      }
    }

    private BlockWalk.Inputs into(Gram gram) {
      return (chunk, x) -> {
        long start = System.nanoTime();
        gram.add(ops, x);
        clock.since(start, PhaseClock.Phase.GRAM);
      };
    }

    /** Of a pass that began at {@code start}, all but the Gram matrices. */
    private void forward(long start, long gathered) {
      long gram = clock.of(PhaseClock.Phase.GRAM) - gathered;
      clock.add(PhaseClock.Phase.FORWARD, System.nanoTime() - start - gram);
    }

    private List<Linear> linears(List<QuantizePlan.Module> group) {
      return walk.linears(group.stream().map(QuantizePlan.Module::name).toList());
    }

    /** Puts weights in the places of those of the source. */
    void replace(Map<String, Made> by) {
      long start = System.nanoTime();
      for (Linear linear : walk.linears(new HashSet<>(by.keySet()))) {
        try (var arena = Arena.ofConfined()) {
          Tensor w = Tensor.allocate(arena, DataType.F32, linear.n(), linear.k());
          long row = 0;
          for (String module : linear.modules()) {
            try (var scratch = Arena.ofConfined()) {
              Made made = by.get(module);
              Tensor part =
                  made != null ? made.floats(scratch, ops) : weights.floats(scratch, module);
              Copies.rows(w.rows(row, part.rows()), part);
              row += part.rows();
            }
          }
          Linear replacement =
              linear.withWeight(new FloatWeight(DataType.F32, w.rows(), w.cols(), w.segment()));
          replacements.add(replacement);
          walk.replace(linear, replacement);
          linear.close();
        }
      }
      clock.since(start, PhaseClock.Phase.LOAD);
    }

    /** What smoothing changed beside the modules that were quantized. */
    void replaceFolded(Sink sink) {
      var made =
          layer.modules().stream().map(QuantizePlan.Module::name).collect(Collectors.toSet());
      try (var arena = Arena.ofConfined()) {
        weights.stored(arena, made).forEach(sink::put);
      }
    }

    void finish() {
      long start = System.nanoTime();
      walk.finish();
      clock.since(start, PhaseClock.Phase.FORWARD);
    }

    @Override
    public void close() {
      walk.close();
      replacements.forEach(Linear::close);
      block.close();
      own.close();
    }
  }

  @Override
  public void close() {
    if (states != null) {
      states.close();
    }
    stage.close();
  }
}
