package org.nanomodel.model;

import java.lang.foreign.Arena;
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
  private final Arena arena;
  private final Tensor table;
  private final Optional<Tensor> positions;
  private final Optional<Linear> project;
  private final Room narrow;

  private TokenEmbedding(WeightLoader w, Config c, Arena arena) {
    ModuleTree tree = c.tree();
    this.arena = arena;
    this.table = w.matrix(arena, tree.embedding() + ".weight", c.vocabSize(), c.embeddingSize());
    this.positions = tree.positions().map(p -> positions(w, c, p));
    this.project =
        c.embeddingSize() == c.hiddenSize()
            ? Optional.empty()
            : Optional.of(w.linear(tree.projectIn(), c.hiddenSize(), c.embeddingSize(), false));
    this.narrow = new Room(c.embeddingSize());
  }

  private Tensor positions(WeightLoader w, Config c, ModuleTree.Positions p) {
    long rows = (long) c.maxPositions() + p.offset();
    return w.matrix(arena, p.module() + ".weight", rows, c.hiddenSize())
        .rows(p.offset(), c.maxPositions());
  }

  public static TokenEmbedding load(Engine engine, Config config, Weights weights) {
    Arena arena = Arena.ofShared();
    try (var loader = new WeightLoader(engine, weights)) {
      var embedding = new TokenEmbedding(loader, config, arena);
      loader.keep();
      return embedding;
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
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

  /** Bytes of tables and projection in memory. */
  long bytes() {
    long learned = positions.map(p -> p.segment().byteSize()).orElse(0L);
    return table.segment().byteSize() + learned + linears().stream().mapToLong(Linear::bytes).sum();
  }

  /** Frees the tables; nobody may be using them. */
  @Override
  public void close() {
    linears().forEach(Linear::close);
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
