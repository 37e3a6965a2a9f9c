package org.nanomodel.model;

import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * What lies between the last block and the head: the last norm, and OPT's projection to narrow
 * embeddings. Used by one thread at a time.
 */
public final class HeadInput implements AutoCloseable {
  private final Optional<Norm> norm;
  private final Optional<Linear> project;
  private final Room narrow;

  private HeadInput(Optional<Norm> norm, Optional<Linear> project, long width) {
    this.norm = norm;
    this.project = project;
    this.narrow = new Room(width);
  }

  public static HeadInput load(Engine engine, Config config, Weights weights) {
    try (var loader = new WeightLoader(engine, weights)) {
      HeadInput input = load(loader, config);
      loader.keep();
      return input;
    }
  }

  static HeadInput load(WeightLoader w, Config c) {
    ModuleTree tree = c.tree();
    Norm norm =
        c.finalNorm()
            ? Norm.load(w, c.family().norm(), tree.norm(), c.hiddenSize(), c.normEps())
            : null;
    Linear project =
        c.embeddingSize() == c.hiddenSize()
            ? null
            : w.linear(tree.projectOut(), c.embeddingSize(), c.hiddenSize(), false);
    return new HeadInput(
        Optional.ofNullable(norm), Optional.ofNullable(project), c.embeddingSize());
  }

  /** x = norm(x); x: F32 [T, dim]. */
  void norm(Ops ops, Tensor x) {
    norm.ifPresent(n -> n.forward(ops, x, x));
  }

  /**
   * The input of the head for hidden states, which are normed in place; valid until the next call.
   */
  public Tensor forward(Ops ops, Tensor x) {
    norm(ops, x);
    if (project.isEmpty()) {
      return x;
    }
    Tensor y = narrow.rows(x.rows());
    ops.linear(y, x, project.get());
    return y;
  }

  List<Linear> linears() {
    return project.stream().toList();
  }

  @Override
  public void close() {
    linears().forEach(Linear::close);
  }
}
