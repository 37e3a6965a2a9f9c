package org.nanomodel.quantize;

import java.util.List;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** What is kept of the input that linears share: its Gram matrix, its size, and perhaps itself. */
final class GroupInputs implements AutoCloseable {
  private final List<Linear> linears;
  private final Gram gram;
  private final ActivationStats stats;
  private final TokenRows rows;

  /**
   * @param rows where to keep it, or null
   */
  GroupInputs(List<Linear> linears, TokenRows rows) {
    long k = linears.getFirst().k();
    this.linears = linears;
    this.gram = new Gram(k);
    this.stats = new ActivationStats(k);
    this.rows = rows;
  }

  void add(Ops ops, TextChunks.Chunk chunk, Tensor x) {
    gram.add(ops, x);
    stats.add(x);
    if (rows != null) {
      Copies.rows(rows.of(chunk), x);
    }
  }

  List<Linear> linears() {
    return linears;
  }

  Gram gram() {
    return gram;
  }

  ActivationStats stats() {
    return stats;
  }

  TokenRows rows() {
    return rows;
  }

  @Override
  public void close() {
    gram.close();
    if (rows != null) {
      rows.close();
    }
  }
}
