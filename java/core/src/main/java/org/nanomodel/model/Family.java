package org.nanomodel.model;

import java.util.Map;
import org.nanomodel.ops.Engine;

/**
 * An architecture: how its config is read, what its modules are called, and the block that runs it.
 *
 * @param modelType {@code model_type} of config.json
 * @param architecture its class with a language model head, in {@code architectures}
 * @param keys what config.json calls a field where LLaMA's has another name: LLaMA's to its own
 * @param defaults what holds where config.json is silent
 * @param biasRule which linears have a bias
 * @param windowRule which layers have a sliding window
 * @param norm the kind of the norm after the last block
 * @param tree the names of its modules
 * @param blocks loads one block
 */
public record Family(
    String modelType,
    String architecture,
    Map<String, String> keys,
    Defaults defaults,
    BiasRule biasRule,
    WindowRule windowRule,
    Norm.Kind norm,
    ModuleTree tree,
    BlockLoader blocks) {

  /**
   * What the family's configuration class fills in.
   *
   * @param headDim 0 = hidden_size / heads
   * @param kvHeads 0 = as many as heads
   * @param ffnFactor of hidden_size; 0 = the config must say it
   * @param activation of the MLP
   * @param normEps of the norms
   * @param tied whether the embedding serves as head
   */
  public record Defaults(
      int headDim, int kvHeads, int ffnFactor, String activation, double normEps, boolean tied) {}

  /**
   * Which linears have a bias: as the config's {@code attention_bias} and {@code mlp_bias}, or
   * OPT's {@code enable_bias}, say, or as the family is.
   */
  public enum BiasRule {
    NONE,
    QKV,
    ATTENTION,
    ATTENTION_AND_MLP,
    ALL
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
    return defaults.kvHeads() == 0 ? heads : defaults.kvHeads();
  }
}
