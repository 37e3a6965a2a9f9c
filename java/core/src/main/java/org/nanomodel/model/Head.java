package org.nanomodel.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** Hidden states to logits: the last norm, OPT's projection to narrow embeddings, the head. */
final class Head {
  private final Optional<Norm> norm;
  private final Optional<Linear> project;
  private final Linear linear;
  private final Room narrow;

  private Head(Optional<Norm> norm, Optional<Linear> project, Linear linear) {
    this.norm = norm;
    this.project = project;
    this.linear = linear;
    this.narrow = new Room(linear.k());
  }

  static Head load(WeightLoader w, Config c, Weights weights, TokenEmbedding embedding) {
    ModuleTree tree = c.tree();
    Norm norm =
        c.finalNorm()
            ? Norm.load(w, c.family().norm(), tree.norm(), c.hiddenSize(), c.normEps())
            : null;
    Linear project =
        c.embeddingSize() == c.hiddenSize()
            ? null
            : w.linear(tree.projectOut(), c.embeddingSize(), c.hiddenSize(), false);
    return new Head(
        Optional.ofNullable(norm), Optional.ofNullable(project), linear(w, c, weights, embedding));
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
    var all = new ArrayList<Linear>();
    project.ifPresent(all::add);
    all.add(linear);
    return all;
  }

  /** h = norm(h). */
  void norm(Ops ops, Tensor h) {
    norm.ifPresent(n -> n.forward(ops, h, h));
  }

  /** logits [rows, V] of hidden states [rows, dim], which are normed in place. */
  void forward(Ops ops, Tensor logits, Tensor h) {
    norm(ops, h);
    if (project.isEmpty()) {
      ops.linear(logits, h, linear);
    } else {
      Tensor x = narrow.rows(h.rows());
      ops.linear(x, h, project.get());
      ops.linear(logits, x, linear);
    }
  }
}
