package org.nanomodel.model;

import java.util.ArrayList;
import java.util.List;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** Hidden states to logits. */
final class Head {
  private final HeadInput input;
  private final Linear linear;

  private Head(HeadInput input, Linear linear) {
    this.input = input;
    this.linear = linear;
  }

  static Head load(WeightLoader w, Config c, Weights weights, TokenEmbedding embedding) {
    return new Head(HeadInput.load(w, c), linear(w, c, weights, embedding));
  }

  /**
   * A quantized head serves even where the config ties it to the embedding: there it is the better
   * informed.
   */
  private static Linear linear(
      WeightLoader w, Config c, Weights weights, TokenEmbedding embedding) {
    String name = c.tree().head();
    boolean quantized = weights.has(name + ".qweight");
    if (c.tiedEmbeddings() && !quantized) {
      return w.tied(name, embedding.table());
    }
    if (!quantized && !weights.has(name + ".weight")) {
      throw new BadModelException(
          "tensor "
              + name
              + ".weight is missing from the checkpoint, and config.json does not say"
              + " tie_word_embeddings");
    }
    return w.linear(name, c.vocabSize(), c.embeddingSize(), false);
  }

  List<Linear> linears() {
    var all = new ArrayList<>(input.linears());
    all.add(linear);
    return all;
  }

  /** h = norm(h). */
  void norm(Ops ops, Tensor h) {
    input.norm(ops, h);
  }

  /** logits [rows, V] of hidden states [rows, dim], which are normed in place. */
  void forward(Ops ops, Tensor logits, Tensor h) {
    ops.linear(logits, input.forward(ops, h), linear);
  }
}
