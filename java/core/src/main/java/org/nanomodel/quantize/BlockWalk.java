package org.nanomodel.quantize;

import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.nanomodel.model.Block;
import org.nanomodel.ops.Linear;
import org.nanomodel.tensor.Tensor;

/**
 * One block on its way over all calibration texts, stopping at the linears whose inputs are asked
 * for, while others are replaced one after the other. The block knows nothing of it. A pass goes on
 * where the last one stopped: the inputs there are kept, and the hidden states as they were there,
 * if {@link BlockStage#resumes} holds for the block; else each pass begins at the block's input.
 */
final class BlockWalk implements AutoCloseable {
  /** Gets the inputs of linears, chunk by chunk in order. */
  @FunctionalInterface
  interface Inputs {
    /**
     * @param x F32 [T, K], perhaps with a row stride, valid during the call
     */
    void accept(TextChunks.Chunk chunk, Tensor x);
  }

  private final BlockStage stage;
  private final Block block;
  private final TokenRows states;
  private final boolean resumes;
  private final Map<Linear, Linear> substitutes = new IdentityHashMap<>();
  private Set<Linear> cut = Set.of(); // where the states stand; none = at the block's input
  private TokenRows cutInputs; // as wide as any input of the block: each pass writes over the last

  /**
   * @param states the block's inputs; its outputs after {@link #finish}
   */
  BlockWalk(BlockStage stage, Block block, TokenRows states) {
    this(stage, block, states, stage.resumes(block, states));
  }

  BlockWalk(BlockStage stage, Block block, TokenRows states, boolean resumes) {
    this.stage = stage;
    this.block = block;
    this.states = states;
    this.resumes = resumes;
  }

  /** The block's linears that compute any of these modules. */
  List<Linear> linears(Collection<String> modules) {
    return block.linears().stream()
        .filter(linear -> linear.modules().stream().anyMatch(modules::contains))
        .toList();
  }

  /** From now on {@code by} runs in the place of {@code linear}, which is not needed any more. */
  void replace(Linear linear, Linear by) {
    substitutes.put(linear, by);
  }

  /**
   * Shows the inputs of linears that share them. What runs before them, runs with all that was
   * replaced so far.
   */
  void inputs(List<Linear> of, Inputs inputs) {
    var pass = new Pass(of);
    for (var chunk : stage.chunks()) {
      pass.show(chunk, x -> inputs.accept(chunk, x));
    }
    pass.end();
  }

  /**
   * The same beside another walk over the same texts, which has a stage of its own.
   *
   * @param inputs gets the inputs here and there, valid during the call
   */
  void inputs(
      List<Linear> of, BlockWalk other, List<Linear> ofOther, BiConsumer<Tensor, Tensor> inputs) {
    var pass = new Pass(of);
    var beside = other.new Pass(ofOther);
    for (var chunk : stage.chunks()) {
      beside.show(chunk, there -> pass.show(chunk, here -> inputs.accept(here, there)));
    }
    pass.end();
    beside.end();
  }

  /** A pass to linears that share an input, chunk by chunk. */
  private final class Pass {
    private final Set<Linear> target;
    private final boolean keep;

    Pass(List<Linear> of) {
      target = Set.copyOf(of);
      boolean first = target.contains(block.linears().getFirst());
      keep = resumes && !first; // little runs before the first: it may run again
      if (keep && cutInputs == null) {
        cutInputs = stage.allocate(widest());
      }
    }

    void show(TextChunks.Chunk chunk, Consumer<Tensor> input) {
      Tensor x = resumes ? states.of(chunk) : stage.copy(states.of(chunk));
      run(chunk, x, target, in -> input.accept(keep ? keep(chunk, in) : in));
    }

    void end() {
      if (keep) {
        cut = target;
      }
    }
  }

  private long widest() {
    return block.linears().stream().mapToLong(Linear::k).max().orElseThrow();
  }

  /** In the place of what the pass of this chunk began with, which it has read by now. */
  private Tensor keep(TextChunks.Chunk chunk, Tensor x) {
    Tensor own = cutInputs.of(chunk, x.cols());
    Copies.rows(own, x);
    return own;
  }

  /** All inputs in one pass; {@code inputs} has as many as {@code groups}. */
  void inputs(List<List<Linear>> groups, List<Inputs> inputs) {
    for (var chunk : stage.chunks()) {
      var ops = stage.ops(substitutes);
      for (int i = 0; i < groups.size(); i++) {
        Inputs to = inputs.get(i);
        ops.watch(groups.get(i), x -> to.accept(chunk, x));
      }
      stage.run(ops, block, stage.copy(states.of(chunk)), chunk.lengths());
    }
  }

  /** Runs the block to its end: the states are its outputs. */
  void finish() {
    for (var chunk : stage.chunks()) {
      run(chunk, states.of(chunk), Set.of(), null);
    }
    close();
  }

  private void run(TextChunks.Chunk chunk, Tensor x, Set<Linear> target, Consumer<Tensor> inputs) {
    var ops = stage.ops(substitutes);
    if (!cut.isEmpty()) {
      ops.resumeAt(cut, cutInputs.of(chunk, cut.iterator().next().k()));
    }
    Optional<Tensor> reached = ops.runTo(target, () -> stage.run(ops, block, x, chunk.lengths()));
    if (reached.isEmpty() && !target.isEmpty()) {
      throw new IllegalStateException("the block does not run " + target + " after " + cut);
    }
    reached.ifPresent(inputs);
  }

  /** Frees what was kept, and the replacements stay their owner's. */
  @Override
  public void close() {
    if (cutInputs != null) {
      cutInputs.close();
      cutInputs = null;
      cut = Set.of();
    }
  }
}
