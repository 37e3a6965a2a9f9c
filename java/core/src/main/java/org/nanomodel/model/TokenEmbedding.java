package org.nanomodel.model;

import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Token ids to hidden states: a row of the table, projected where OPT's embeddings are narrower
 * than the model, plus the learned embedding of the position where there are any. The tables are
 * copied, since they outlive the checkpoint's mapping. Used by one thread at a time.
 */
public final class TokenEmbedding implements AutoCloseable {
  private final Tensor table;
  private final Optional<Tensor> positions;
  private final Optional<Linear> project;
  private final Room narrow;

  private TokenEmbedding(Tensor table, Optional<Tensor> positions, Optional<Linear> project) {
    this.table = table;
    this.positions = positions;
    this.project = project;
    this.narrow = new Room(table.cols());
  }

  public static TokenEmbedding load(Engine engine, Config c, Weights weights) {
    ModuleTree tree = c.tree();
    try (var loader = new WeightLoader(engine, weights)) {
      Tensor table = loader.matrix(tree.embedding() + ".weight", c.vocabSize(), c.embeddingSize());
      Optional<Tensor> positions =
          tree.positions()
              .map(p ->
                  loader
                      .matrix(
                          p.module() + ".weight",
                          (long) c.maxPositions() + p.offset(),
                          c.hiddenSize())
                      .rows(p.offset(), c.maxPositions()));
      Optional<Linear> project =
          c.embeddingSize() == c.hiddenSize()
              ? Optional.empty()
              : Optional.of(
                  loader.linear(tree.projectIn(), c.hiddenSize(), c.embeddingSize(), false));
      loader.keep();
      return new TokenEmbedding(table, positions, project);
    }
  }

  /** Fills x: F32 [T, dim]; ids and positions: I32 [T]. */
  public void forward(Ops ops, Tensor x, Tensor ids, Tensor positionOfToken) {
    if (project.isEmpty()) {
      ops.embedding(x, table, ids);
    } else {
      Tensor rows = narrow.rows(x.rows());
      ops.embedding(rows, table, ids);
      ops.linear(x, rows, project.get());
    }
    if (positions.isPresent()) {
      ops.embeddingAdd(x, positions.get(), positionOfToken);
    }
  }

  Tensor table() {
    return table;
  }

  List<Linear> linears() {
    return project.stream().toList();
  }

  @Override
  public void close() {
    linears().forEach(Linear::close);
  }
}
