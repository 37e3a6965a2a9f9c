package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.GptqTriangle;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * What an error D of a weight costs at its output: |X D^T|^2 = sum over rows d of D of d^T G d, G =
 * X^T X. No token is looked at again.
 */
final class GramForm implements AutoCloseable {
  private final Ops ops;
  private final Linear gram;
  private final long rows;

  GramForm(Ops ops, Gram gram) {
    this.ops = ops;
    this.rows = gram.rows();
    try (var arena = Arena.ofShared()) {
      Tensor square = GptqTriangle.dense(arena, gram.triangle(), gram.k());
      var weight = new FloatWeight(DataType.F32, gram.k(), gram.k(), square.segment());
      this.gram = Linear.pack(ops.engine(), "gram", weight, null);
    }
  }

  /** Mean squared error per output and token of D, F32 [N, K]. */
  double error(Tensor d) {
    try (var arena = Arena.ofConfined()) {
      Tensor y = Tensor.allocate(arena, DataType.F32, d.rows(), d.cols());
      ops.linear(y, d, gram);
      return Sums.product(d, y) / d.rows() / rows;
    }
  }

  @Override
  public void close() {
    gram.close();
  }
}
