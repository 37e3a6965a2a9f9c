package org.nanomodel.quantize;

import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Block;
import org.nanomodel.model.Config;
import org.nanomodel.ops.Ops;

/**
 * The hidden states of the calibration texts on their way through the float model. Nothing of it
 * depends on what was quantized, so that a job that goes on finds the same states again.
 */
final class FloatPath implements AutoCloseable {
  private final ModelDirectory source;
  private final Config model;
  private final Ops ops;
  private final BlockStage stage;
  private TokenRows states;
  private int at; // the block that is next

  FloatPath(ModelDirectory source, Ops ops, BlockStage stage) {
    this.source = source;
    this.model = source.config();
    this.ops = ops;
    this.stage = stage;
  }

  BlockStage stage() {
    return stage;
  }

  Block load(int layer) {
    return model.family().blocks().load(ops.engine(), model, source, layer);
  }

  /** The inputs of a block; layers come in order. */
  TokenRows states(int layer) {
    if (states == null) {
      states = stage.embed(source);
    }
    while (at < layer) {
      try (var block = load(at);
          var walk = new BlockWalk(stage, block, states)) {
        pass(walk);
      }
    }
    return states;
  }

  /** The block that is next runs. */
  void pass(BlockWalk walk) {
    walk.finish();
    at++;
  }

  /** A block on its way, to be closed before the next; {@link Step#finish} makes that one next. */
  Step step(int layer) {
    return new Step(layer);
  }

  /** One block of the float model with its walk. */
  final class Step implements AutoCloseable {
    private final Block block;
    private final BlockWalk walk;

    private Step(int layer) {
      TokenRows inputs = states(layer);
      block = load(layer);
      walk = new BlockWalk(stage, block, inputs);
    }

    BlockWalk walk() {
      return walk;
    }

    void finish() {
      pass(walk);
    }

    @Override
    public void close() {
      walk.close();
      block.close();
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
