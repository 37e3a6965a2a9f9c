package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.nanomodel.model.Block;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The part of a block from linears that share an input to the output of the next linear: attention,
 * or the MLP. Tells how far its output moves, over all tokens, when other linears stand at its
 * entrance.
 */
final class SubBlock implements AutoCloseable {
  private final Ops ops;
  private final BlockStage stage;
  private final Block block;
  private final TokenRows states;
  private final Set<Linear> entrance;
  private final TokenRows inputs;
  private final Linear exit;
  private final Arena arena = Arena.ofShared();
  private final Tensor out;
  private final TokenRows reference;

  /**
   * @param states the block's inputs, left as they are
   * @param inputs of the entrance
   */
  SubBlock(
      Ops ops,
      BlockStage stage,
      Block block,
      TokenRows states,
      List<Linear> entrance,
      TokenRows inputs,
      Linear exit) {
    this.ops = ops;
    this.stage = stage;
    this.block = block;
    this.states = states;
    this.entrance = Set.copyOf(entrance);
    this.inputs = inputs;
    this.exit = exit;
    int most = stage.chunks().stream().mapToInt(TextChunks.Chunk::tokens).max().orElseThrow();
    this.out = Tensor.allocate(arena, DataType.F32, most, exit.n());
    this.reference = stage.allocate(exit.n());
    for (var chunk : stage.chunks()) {
      Copies.rows(reference.of(chunk), run(Map.of(), chunk));
    }
  }

  /** Sum of squares of what the output moves by. */
  double error(Map<Linear, Linear> substitutes) {
    double sum = 0;
    for (var chunk : stage.chunks()) {
      sum += Sums.squaredDifference(run(substitutes, chunk), reference.of(chunk));
    }
    return sum;
  }

  private Tensor run(Map<Linear, Linear> substitutes, TextChunks.Chunk chunk) {
    WalkOps walk = stage.ops(substitutes);
    if (stage.resumes(block, states)) {
      walk.resumeAt(entrance, inputs.of(chunk));
    }
    Tensor x = stage.copy(states.of(chunk));
    Tensor reached =
        walk.runTo(Set.of(exit), () -> stage.run(walk, block, x, chunk.lengths()))
            .orElseThrow(() -> new IllegalStateException(exit.name() + " did not run"));
    Tensor y = out.rows(0, chunk.tokens());
    ops.linear(y, reached, exit);
    return y;
  }

  @Override
  public void close() {
    reference.close();
    arena.close();
  }
}
