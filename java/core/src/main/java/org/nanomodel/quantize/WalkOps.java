package org.nanomodel.quantize;

import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.nanomodel.ops.Activation;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.ForwardingOps;
import org.nanomodel.ops.KvLayer;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.RopeTable;
import org.nanomodel.tensor.Tensor;

/**
 * Runs a block for somebody who looks into it: with other linears in the place of its own, up to
 * certain linears and no further, or from certain linears on. What comes before those is left out:
 * their input is given instead.
 */
final class WalkOps extends ForwardingOps {
  /** Leaves the block in the middle of its forward pass. */
  private static final class Reached extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Reached() {
      super(null, null, false, false);
    }
  }

  private final Map<Linear, Linear> substitutes;
  private final Map<Linear, Consumer<Tensor>> watched = new IdentityHashMap<>();
  private final Map<Consumer<Tensor>, Tensor> told = new HashMap<>();
  private Set<Linear> target = Set.of();
  private Tensor reached;
  private Set<Linear> from = Set.of();
  private Tensor given; // not null as long as ops are left out

  WalkOps(Ops to, Map<Linear, Linear> substitutes) {
    super(to);
    this.substitutes = substitutes;
  }

  /** Tells the common input of linears, once, when the first of them runs. */
  void watch(Collection<Linear> linears, Consumer<Tensor> inputs) {
    linears.forEach(linear -> watched.put(linear, inputs));
  }

  /** Leaves out all before the first of these linears, which finds {@code x} as its input. */
  void resumeAt(Set<Linear> linears, Tensor x) {
    from = linears;
    given = x;
  }

  /** Runs up to the first of these linears, and gives its input; empty when none comes. */
  Optional<Tensor> runTo(Set<Linear> linears, Runnable pass) {
    target = linears;
    reached = null;
    try {
      pass.run();
    } catch (Reached e) {
      return Optional.of(reached);
    }
    return Optional.empty();
  }

  @Override
  public void linear(Tensor y, Tensor x, Linear w, Tensor residual) {
    if (given != null) {
      if (!from.contains(w)) {
        return;
      }
      Copies.rows(x, given);
      given = null;
    }
    if (target.contains(w)) {
      reached = x;
      throw new Reached();
    }
    var watcher = watched.get(w);
    if (watcher != null && told.put(watcher, x) == null) {
      watcher.accept(x);
    }
    super.linear(y, x, substitutes.getOrDefault(w, w), residual);
  }

  private boolean leftOut() {
    return given != null;
  }

  @Override
  public void convert(Tensor y, Tensor x) {
    if (!leftOut()) {
      super.convert(y, x);
    }
  }

  @Override
  public void embedding(Tensor y, Tensor table, Tensor ids, Tensor residual) {
    if (!leftOut()) {
      super.embedding(y, table, ids, residual);
    }
  }

  @Override
  public void rmsNorm(Tensor y, Tensor x, int heads, Tensor weight, float eps) {
    if (!leftOut()) {
      super.rmsNorm(y, x, heads, weight, eps);
    }
  }

  @Override
  public void layerNorm(Tensor y, Tensor x, Tensor weight, Tensor bias, float eps) {
    if (!leftOut()) {
      super.layerNorm(y, x, weight, bias, eps);
    }
  }

  @Override
  public void rope(Tensor x, int heads, RopeTable table) {
    if (!leftOut()) {
      super.rope(x, heads, table);
    }
  }

  @Override
  public void kvAppend(KvLayer kv, Tensor key, Tensor value, BatchDescriptor batch) {
    if (!leftOut()) {
      super.kvAppend(kv, key, value, batch);
    }
  }

  @Override
  public void attention(
      Tensor y, Tensor q, KvLayer kv, BatchDescriptor batch, int heads, float scale, int window) {
    if (!leftOut()) {
      super.attention(y, q, kv, batch, heads, scale, window);
    }
  }

  @Override
  public void activate(Tensor y, Activation kind, Tensor x) {
    if (!leftOut()) {
      super.activate(y, kind, x);
    }
  }

  @Override
  public void activateMul(Tensor y, Activation kind, Tensor x, Tensor up) {
    if (!leftOut()) {
      super.activateMul(y, kind, x, up);
    }
  }

  @Override
  public void softmax(Tensor y, Tensor x, float temperature) {
    if (!leftOut()) {
      super.softmax(y, x, temperature);
    }
  }
}
