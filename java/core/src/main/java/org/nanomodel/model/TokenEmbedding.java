package org.nanomodel.model;

import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** Token ids to hidden states. The table is copied, since it outlives the checkpoint's mapping. */
public final class TokenEmbedding {
  private final Tensor table;

  private TokenEmbedding(Tensor table) {
    this.table = table;
  }

  public static TokenEmbedding load(Engine engine, Config config, Weights weights) {
    try (var loader = new WeightLoader(engine, weights)) {
      return new TokenEmbedding(
          loader.matrix(
              config.tree().embedding() + ".weight", config.vocabSize(), config.hiddenSize()));
    }
  }

  /** x[t] = table[ids[t]]; x: F32 [T, dim], ids: I32 [T]. */
  public void forward(Ops ops, Tensor x, Tensor ids) {
    ops.embedding(x, table, ids);
  }

  Tensor table() {
    return table;
  }
}
