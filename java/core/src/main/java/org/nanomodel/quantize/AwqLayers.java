package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.nanomodel.NativeException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Block;
import org.nanomodel.model.Config;
import org.nanomodel.model.ModuleTree;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.RoundingGrid;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * AWQ layer by layer (Lin et al. 2023): in each block the inputs of all linears are looked at once,
 * as the float model makes them; every group that has somewhere to fold scales into gets the {@link
 * Awq} scales that leave the least error at the output of its attention or MLP, or at its own where
 * a linear feeds it; then each weight's groups are clipped, and rounded to nearest.
 */
final class AwqLayers implements LayerMethod {
  private final ModelDirectory source;
  private final Config model;
  private final Ops ops;
  private final PhaseClock clock;
  private final int last;
  private final FloatPath path;
  private final LayerFloats floats;
  private final Eora eora;

  /**
   * @param folder for hidden states, if they are not to be held in memory
   */
  AwqLayers(
      ModelDirectory source,
      QuantizeConfig config,
      QuantizePlan plan,
      Calibration calibration,
      Ops ops,
      PhaseClock clock,
      Optional<Path> folder) {
    this.source = source;
    this.model = source.config();
    this.ops = ops;
    this.clock = clock;
    this.last = plan.layers().getLast().number();
    this.floats = new LayerFloats(source);
    this.eora = new Eora(config, ops, clock);
    var stage = new BlockStage(ops, model, TextChunks.of(calibration), folder);
    this.path = new FloatPath(source, ops, stage);
  }

  @Override
  public void takeOver(QuantizePlan.Layer layer, Path tensors) {
    // The float path runs through it on the way to the next.
  }

  @Override
  public void quantize(QuantizePlan.Layer layer, Sink sink) {
    if (layer.number() == model.layers()) { // the head: no scales, nothing to clip for
      new RtnLayers(floats, ops, clock).quantize(layer, sink);
      return;
    }
    TokenRows states = path.states(layer.number());
    try (var block = path.load(layer.number());
        var walk = new BlockWalk(path.stage(), block, states);
        var work = new BlockWork(layer, block, states)) {
      if (!layer.modules().isEmpty()) {
        long start = System.nanoTime();
        work.capture(walk);
        start = clock.since(start, PhaseClock.Phase.FORWARD);
        work.searchScales();
        work.fold();
        clock.since(start, PhaseClock.Phase.SEARCH);
        work.quantize(sink);
      }
      if (layer.number() < last) {
        path.pass(walk);
      }
    }
  }

  /** One block at work. */
  private final class BlockWork implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final QuantizePlan.Layer layer;
    private final Block block;
    private final TokenRows states;
    private final FoldedWeights weights = new FoldedWeights(source, ops, arena);
    private final List<GroupWork> groups = new ArrayList<>();
    private double secondsOfEach;

    BlockWork(QuantizePlan.Layer layer, Block block, TokenRows states) {
      this.layer = layer;
      this.block = block;
      this.states = states;
    }

    /** One pass over the texts shows all inputs. */
    void capture(BlockWalk walk) {
      long start = System.nanoTime();
      for (ModuleTree.Group group : model.tree().groups()) {
        var names = new HashSet<>(model.tree().modules(layer.number(), group));
        var fold = ScaleFold.of(model, layer.number(), group);
        var linears = walk.linears(names);
        boolean keep = fold.filter(ScaleFold::fedByNorm).isPresent();
        TokenRows rows = keep ? path.stage().allocate(linears.getFirst().k()) : null;
        var modules = layer.modules().stream().filter(m -> names.contains(m.name())).toList();
        groups.add(new GroupWork(modules, fold, new GroupInputs(linears, rows)));
      }
      walk.inputs(
          groups.stream().map(g -> g.inputs.linears()).toList(),
          groups.stream()
              .map(g -> (BlockWalk.Inputs) (chunk, x) -> g.inputs.add(ops, chunk, x))
              .toList());
      secondsOfEach = PhaseClock.secondsSince(start) / layer.modules().size();
    }

    /**
     * All on the weights as they are: folding into one group's source changes no other's choice.
     */
    void searchScales() {
      for (int i = 0; i < groups.size(); i++) {
        GroupWork g = groups.get(i);
        if (g.fold.isPresent() && !g.modules.isEmpty()) {
          long start = System.nanoTime();
          if (g.fold.get().fedByNorm()) {
            Linear exit = groups.get(i + 1).inputs.linears().getFirst();
            searchAtExit(g, exit);
          } else {
            searchAtOutput(g);
          }
          g.seconds = PhaseClock.secondsSince(start) / g.modules.size();
        }
      }
    }

    private void searchAtExit(GroupWork g, Linear exit) {
      var entrance = g.inputs.linears();
      try (var sub =
          new SubBlock(ops, path.stage(), block, states, entrance, g.inputs.rows(), exit)) {
        g.search(
            this,
            s -> {
              Map<Linear, Linear> candidates = new IdentityHashMap<>();
              try {
                entrance.forEach(linear -> candidates.put(linear, candidate(g, linear, s)));
                return sub.error(candidates);
              } finally {
                candidates.values().forEach(Linear::close);
              }
            });
      }
    }

    /** A linear as it is when scales, rounding and the scales' inverse went over its weights. */
    private Linear candidate(GroupWork g, Linear linear, Tensor s) {
      try (var scratch = Arena.ofShared()) {
        Tensor w = Tensor.allocate(scratch, DataType.F32, linear.n(), linear.k());
        long row = 0;
        for (String name : linear.modules()) {
          Tensor from = weights.matrix(name);
          Tensor to = w.rows(row, from.rows());
          g.module(name).ifPresentOrElse(m -> round(to, from, s, m), () -> Copies.rows(to, from));
          row += from.rows();
        }
        return linear.withWeight(new FloatWeight(DataType.F32, w.rows(), w.cols(), w.segment()));
      }
    }

    private void searchAtOutput(GroupWork g) {
      g.search(
          this,
          s -> {
            double error = 0;
            for (var module : g.modules) {
              try (var scratch = Arena.ofShared()) {
                Tensor w = weights.matrix(module.name());
                Tensor d = Tensor.allocate(scratch, DataType.F32, w.rows(), w.cols());
                round(d, w, s, module);
                Sums.subtract(d, w);
                error += g.form().error(d) * w.rows();
              }
            }
            return error;
          });
    }

    private void round(Tensor to, Tensor w, Tensor s, QuantizePlan.Module module) {
      try {
        ops.awqRound(to, w, s, grid(module));
      } catch (NativeException e) {
        throw floats.named(module.name(), e);
      }
    }

    void fold() {
      for (GroupWork g : groups) {
        if (g.scales != null) {
          g.fold.orElseThrow().apply(weights, g.scales);
        }
      }
    }

    void quantize(Sink sink) {
      for (GroupWork g : groups) {
        for (var module : g.modules) {
          quantize(g, module, sink);
        }
      }
      Set<String> made =
          layer.modules().stream().map(QuantizePlan.Module::name).collect(Collectors.toSet());
      try (var scratch = Arena.ofConfined()) {
        weights.stored(scratch, made).forEach(sink::put);
      }
    }

    private void quantize(GroupWork g, QuantizePlan.Module module, Sink sink) {
      long start = System.nanoTime();
      try (var scratch = Arena.ofShared()) {
        Tensor exact = weights.matrix(module.name());
        Tensor w = Tensor.allocate(scratch, DataType.F32, exact.rows(), exact.cols());
        Copies.rows(w, exact);
        Tensor s = g.scales == null ? null : Tensor.ofFloats(scratch, g.scales, g.scales.length);
        if (Awq.clips(module.name())) {
          ops.awqClip(w, g.inputs.gram().triangle(), s, grid(module));
        }
        QuantizedWeight q = Rtn.quantize(scratch, ops, w, module.scheme(), module.scaleType());
        ops.dequantize(w, q);
        Sums.subtract(w, exact);
        if (g.scales != null) {
          Sums.divideColumns(w, g.scales);
        }
        double loss = g.form().error(w);
        clock.since(start, PhaseClock.Phase.COLUMNS);
        Sums.negate(w);
        eora.of(scratch, module, w, g.inputs.gram(), g.scales)
            .ifPresent(made -> made.into(sink, module));
        double seconds = PhaseClock.secondsSince(start) + g.seconds + secondsOfEach;
        sink.done(
            module, new Outcome(q, loss, g.inputs.gram().rows(), 0, seconds, Optional.empty()));
      } catch (NativeException e) {
        throw floats.named(module.name(), e);
      }
    }

    @Override
    public void close() {
      groups.forEach(GroupWork::close);
      arena.close();
    }
  }

  /** Linears that share an input, with what becomes of them. */
  private final class GroupWork implements AutoCloseable {
    /** The error that candidate scales, F32 [K], leave. */
    interface Error {
      double of(Tensor scales);
    }

    private final List<QuantizePlan.Module> modules;
    private final Optional<ScaleFold> fold;
    private final GroupInputs inputs;
    private GramForm form;
    private float[] scales; // null: none
    private double seconds;

    GroupWork(List<QuantizePlan.Module> modules, Optional<ScaleFold> fold, GroupInputs inputs) {
      this.modules = modules;
      this.fold = fold;
      this.inputs = inputs;
    }

    Optional<QuantizePlan.Module> module(String name) {
      return modules.stream().filter(m -> m.name().equals(name)).findFirst();
    }

    GramForm form() {
      if (form == null) {
        form = new GramForm(ops, inputs.gram());
      }
      return form;
    }

    void search(BlockWork work, Error error) {
      ScaleFold f = fold.orElseThrow();
      double[] x = f.shared(inputs.stats().mean());
      double[] w =
          f.shared(
              Awq.weightMeans(
                  modules.stream().map(m -> work.weights.matrix(m.name())).toList(),
                  modules.stream().map(m -> grid(m).groupSize()).toList()));
      scales =
          Awq.search(
              x,
              w,
              s -> {
                try (var scratch = Arena.ofShared()) {
                  return error.of(Tensor.ofFloats(scratch, s, s.length));
                }
              });
    }

    @Override
    public void close() {
      inputs.close();
      if (form != null) {
        form.close();
      }
    }
  }

  private static RoundingGrid grid(QuantizePlan.Module m) {
    return new RoundingGrid(
        m.scheme().bits(), m.scheme().groupOf(m.k()), m.scheme().sym(), m.scaleType());
  }

  @Override
  public void close() {
    path.close();
  }
}
