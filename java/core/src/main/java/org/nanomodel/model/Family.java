package org.nanomodel.model;

import org.nanomodel.ops.Engine;

/**
 * An architecture: how its config is read, what its modules are called, and the block that runs it.
 *
 * @param modelType {@code model_type} of config.json
 * @param architecture its class with a language model head, in {@code architectures}
 * @param biasRule which linears have a bias
 * @param windowRule which layers have a sliding window
 * @param defaultHeadDim when the config is silent; 0 = hidden_size / heads
 * @param defaultKv when the config is silent; 0 = as many as heads
 * @param tree the names of its modules
 * @param blocks loads one block
 */
public record Family(
    String modelType,
    String architecture,
    BiasRule biasRule,
    WindowRule windowRule,
    int defaultHeadDim,
    int defaultKv,
    ModuleTree tree,
    BlockLoader blocks) {

  /**
   * Which linears have a bias: as the config's {@code attention_bias} and {@code mlp_bias} say, or
   * as the family is.
   */
  public enum BiasRule {
    NONE,
    QKV,
    ATTENTION,
    ATTENTION_AND_MLP
  }

  /**
   * Where {@code sliding_window} counts; BY_LAYER asks {@code use_sliding_window}, {@code
   * layer_types}, {@code max_window_layers}.
   */
  public enum WindowRule {
    NONE,
    ALL_LAYERS,
    BY_LAYER
  }

  /** Loads the weights of one block. */
  @FunctionalInterface
  public interface BlockLoader {
    Block load(Engine engine, Config config, Weights weights, int layer);
  }

  int defaultKvHeads(int heads) {
    return defaultKv == 0 ? heads : defaultKv;
  }
}
