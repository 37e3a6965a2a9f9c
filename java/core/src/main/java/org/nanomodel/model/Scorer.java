package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Logits of every position of a text, piece by piece: what perplexity, divergence and the {@code
 * logits} verb are made of. Only a piece of the logits is in memory at a time. Used by one thread.
 */
public final class Scorer implements AutoCloseable {
  private static final long LOGITS_BYTES = 64L << 20;

  /**
   * Sees the logits of positions {@code first .. first + logits.rows() - 1}; they are valid during
   * the call.
   */
  @FunctionalInterface
  public interface Visitor {
    void accept(int first, Tensor logits);
  }

  private final CausalModel model;
  private final Ops ops;
  private final KvCache cache;
  private final Batch batch;
  private final Tensor logits;
  private final Tensor targets;
  private final Tensor nll;

  /**
   * @param maxTokens the longest text
   */
  public Scorer(CausalModel model, Ops ops, int maxTokens) {
    this.model = model;
    this.ops = ops;
    this.cache = model.newCache(maxTokens);
    this.batch = model.newBatch(1, maxTokens);
    int vocab = model.config().vocabSize();
    int rows = Math.clamp(LOGITS_BYTES / (4L * vocab), 1, model.maxStepTokens());
    Arena arena = Arena.ofAuto();
    this.logits = Tensor.allocate(arena, DataType.F32, rows, vocab);
    this.targets = Tensor.allocate(arena, DataType.I32, rows);
    this.nll = Tensor.allocate(arena, DataType.F64, rows);
  }

  /** Runs a text from an empty cache. */
  public void run(int[] ids, Visitor visitor) {
    try (var _ = model.use();
        var sequence = cache.newSequence()) {
      for (int at = 0; at < ids.length; at += batch.maxTokens()) {
        int n = Math.min(batch.maxTokens(), ids.length - at);
        batch.clear().add(sequence, ids, at, n, Batch.Logits.NONE);
        model.forward(ops, batch, logits, visitor, at);
      }
    }
  }

  /** All of them, F32 [T, V]; memory of their own, freed when no longer reachable. */
  public Tensor logits(int[] ids) {
    int vocab = model.config().vocabSize();
    Tensor all = Tensor.allocate(Arena.ofAuto(), DataType.F32, ids.length, vocab);
    run(
        ids,
        (first, rows) -> {
          for (long r = 0; r < rows.rows(); r++) {
            MemorySegment row = rows.rows(r, 1).segment();
            MemorySegment.copy(row, 0, all.segment(), 4L * vocab * (first + r), 4L * vocab);
          }
        });
    return all;
  }

  /**
   * -log p(ids[i] | ids[0 .. i-1]) for i = 1 .. length - 1; the result is one shorter than the
   * text.
   */
  public double[] nll(int[] ids) {
    var out = new double[Math.max(0, ids.length - 1)];
    run(
        ids,
        (first, rows) -> {
          int n = (int) Math.min(rows.rows(), out.length - first);
          if (n <= 0) {
            return;
          }
          for (int i = 0; i < n; i++) {
            targets.segment().setAtIndex(ValueLayout.JAVA_INT, i, ids[first + i + 1]);
          }
          ops.nll(nll.rows(0, n), rows.rows(0, n), targets.rows(0, n));
          for (int i = 0; i < n; i++) {
            out[first + i] = nll.segment().getAtIndex(ValueLayout.JAVA_DOUBLE, i);
          }
        });
    return out;
  }

  @Override
  public void close() {
    cache.close();
  }
}
