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
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.AdapterWriter;
import org.nanomodel.checkpoint.CheckpointScheme;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.QuantizedTensors;
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

  private final ModelDirectory source;
  private final QuantizeConfig config;
  private final CheckpointScheme scheme;
  private final GroupSolver solver;
  private final Ops ops;
  private final PhaseClock clock;
  private final Optional<Smoothing> smoothing;
  private final Config model;
  private final int last;
  private final BlockStage stage;
  private final FloatPath exact; // of GPTAQ, on a stage of its own; else null
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
    this.solver = new GroupSolver(config, new LayerFloats(source), ops, clock);
    this.ops = ops;
    this.clock = clock;
    this.smoothing = smoothing;
    this.model = source.config();
    this.last = plan.layers().getLast().number();
    var chunks = TextChunks.of(calibration);
    this.stage = new BlockStage(ops, model, chunks, folder);
    this.exact =
        config.method() == Method.GPTAQ
            ? new FloatPath(source, ops, new BlockStage(ops, model, chunks, folder))
            : null;
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
      head(layer.number(), layer.modules().getFirst(), sink);
      return;
    }
    try (var walk = new Walk(layer);
        var beside = beside(layer.number())) {
      List<List<QuantizePlan.Module>> groups = groups(layer);
      if (config.gptq().trueSequential()) {
        for (var group : groups) {
          walk.quantize(group, beside, sink);
        }
      } else {
        walk.quantizeAtOnce(groups, sink);
      }
      walk.replaceFolded(sink);
      if (layer.number() < last) {
        walk.finish(beside);
      }
    }
  }

  /** The block in the float model, for GPTAQ; else null. */
  private FloatPath.Step beside(int layer) {
    if (exact == null) {
      return null;
    }
    long start = System.nanoTime();
    var step = exact.step(layer);
    clock.since(start, PhaseClock.Phase.FORWARD);
    return step;
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
          var made = new HashMap<String, GroupSolver.Made>();
          for (var module : group) {
            var weight = stored.weight(arena, ops, module.name());
            made.put(module.name(), new GroupSolver.Made(weight, adapter(stored, module)));
          }
          walk.replace(made);
        }
      }
      walk.finish(null);
    }
  }

  private Optional<Eora.Halves> adapter(QuantizedTensors stored, QuantizePlan.Module module) {
    long rank = Eora.rank(config, module);
    var a = AdapterWriter.a(module.name(), rank, module.k());
    var b = AdapterWriter.b(module.name(), module.n(), rank);
    return stored.find(a).map(tensor -> new Eora.Halves(tensor, stored.find(b).orElseThrow()));
  }

  /** The head, whose input is the normed output of the last block. */
  private void head(int layer, QuantizePlan.Module module, Sink sink) {
    long start = System.nanoTime();
    try (var input = HeadInput.load(ops.engine(), model, source);
        var beside = exact == null ? null : HeadInput.load(ops.engine(), model, source);
        var gram = gram(module.k());
        var arena = Arena.ofConfined()) {
      TokenRows floatStates = exact == null ? null : exact.states(layer);
      for (var chunk : stage.chunks()) {
        Tensor x = input.forward(ops, stage.copy(states.of(chunk)));
        if (exact == null) {
          gram.add(ops, x);
        } else {
          Tensor there = exact.stage().copy(floatStates.of(chunk));
          gram.add(ops, x, beside.forward(ops, there));
        }
      }
      var weights = new FoldedWeights(source, ops, arena);
      solver.solve(arena, List.of(module), weights, gram, PhaseClock.secondsSince(start), sink);
    }
  }

  private Gram gram(long k) {
    return exact == null ? new Gram(k) : Gram.paired(k);
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

    /**
     * Quantizes modules that share an input.
     *
     * @param beside the block in the float model, for GPTAQ; else null
     */
    void quantize(List<QuantizePlan.Module> group, FloatPath.Step beside, Sink sink) {
      long start = System.nanoTime();
      long gathered = clock.of(PhaseClock.Phase.GRAM);
      try (var gram = gram(group.getFirst().k());
          var arena = Arena.ofConfined()) {
        if (beside == null) {
          walk.inputs(linears(walk, group), into(gram));
        } else {
          BlockWalk there = beside.walk();
          walk.inputs(
              linears(walk, group), there, linears(there, group), (x, e) -> add(gram, x, e));
        }
        forward(start, gathered);
        double seconds = PhaseClock.secondsSince(start);
        replace(solver.solve(arena, group, weights, gram, seconds, sink));
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
        walk.inputs(groups.stream().map(group -> linears(walk, group)).toList(), inputs);
        forward(start, gathered);
        double seconds = PhaseClock.secondsSince(start) / groups.size();
        for (int i = 0; i < groups.size(); i++) {
          replace(solver.solve(arena, groups.get(i), weights, grams.get(i), seconds, sink));
        }
      } finally {
        grams.forEach(Gram::close);
      }
    }

    private BlockWalk.Inputs into(Gram gram) {
      return (chunk, x) -> add(gram, x, null);
    }

    private void add(Gram gram, Tensor x, Tensor exact) {
      long start = System.nanoTime();
      if (exact == null) {
        gram.add(ops, x);
      } else {
        gram.add(ops, x, exact);
      }
      clock.since(start, PhaseClock.Phase.GRAM);
    }

    /** Of a pass that began at {@code start}, all but the Gram matrices. */
    private void forward(long start, long gathered) {
      long gram = clock.of(PhaseClock.Phase.GRAM) - gathered;
      clock.add(PhaseClock.Phase.FORWARD, System.nanoTime() - start - gram);
    }

    private static List<Linear> linears(BlockWalk walk, List<QuantizePlan.Module> group) {
      return walk.linears(group.stream().map(QuantizePlan.Module::name).toList());
    }

    /** Puts weights in the places of those of the source. */
    void replace(Map<String, GroupSolver.Made> by) {
      long start = System.nanoTime();
      for (Linear linear : walk.linears(new HashSet<>(by.keySet()))) {
        try (var arena = Arena.ofConfined()) {
          Tensor w = Tensor.allocate(arena, DataType.F32, linear.n(), linear.k());
          long row = 0;
          for (String module : linear.modules()) {
            try (var scratch = Arena.ofConfined()) {
              GroupSolver.Made made = by.get(module);
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

    void finish(FloatPath.Step beside) {
      long start = System.nanoTime();
      walk.finish();
      if (beside != null) {
        beside.finish();
      }
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
    if (exact != null) {
      exact.close();
    }
  }
}
