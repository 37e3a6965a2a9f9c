package org.nanomodel.model;

import java.util.List;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Modules that share an input and write side by side: one linear where their weights could be
 * fused, else one each.
 */
final class Projection implements AutoCloseable {
  private final List<Linear> linears;

  Projection(List<Linear> linears) {
    this.linears = List.copyOf(linears);
  }

  List<Linear> linears() {
    return linears;
  }

  /** Two modules: gate and up. */
  void forward(Ops ops, Tensor whole, Tensor a, Tensor b, Tensor x) {
    if (linears.size() == 1) {
      ops.linear(whole, x, linears.getFirst());
    } else {
      ops.linear(a, x, linears.get(0));
      ops.linear(b, x, linears.get(1));
    }
  }

  /** Three modules: q, k and v. */
  void forward(Ops ops, Tensor whole, Tensor a, Tensor b, Tensor c, Tensor x) {
    if (linears.size() == 1) {
      ops.linear(whole, x, linears.getFirst());
    } else {
      ops.linear(a, x, linears.get(0));
      ops.linear(b, x, linears.get(1));
      ops.linear(c, x, linears.get(2));
    }
  }

  @Override
  public void close() {
    linears.forEach(Linear::close);
  }
}
