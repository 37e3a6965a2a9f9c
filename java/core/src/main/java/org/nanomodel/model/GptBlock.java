package org.nanomodel.model;

import java.util.List;
import java.util.stream.Stream;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.KvLayer;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * One decoder layer of GPT-2 (Radford et al. 2019) and OPT (Zhang et al. 2022): x +=
 * attention(norm(x)); x += mlp(norm(x)), with layer norms and a plain MLP. The smallest OPT norms
 * the sums instead: x = norm(x + attention(x)), and so on.
 */
final class GptBlock implements Block {
  private final Config c;
  private final int layer;
  private final Norm attnNorm;
  private final Norm mlpNorm;
  private final Projection qkv;
  private final Linear wo;
  private final Linear wUp;
  private final Linear wDown;

  private GptBlock(WeightLoader w, Config c, int layer) {
    this.c = c;
    this.layer = layer;
    ModuleTree tree = c.tree();
    List<ModuleTree.Group> g = tree.groups();
    long dim = c.hiddenSize();
    attnNorm = norm(w, tree.norms().get(0));
    mlpNorm = norm(w, tree.norms().get(1));
    List<String> inputs = tree.modules(layer, g.get(0)); // q, k, v, or all in one
    long[] dims = inputs.size() == 1 ? new long[] {3 * dim} : new long[] {dim, dim, dim};
    qkv = w.projection(inputs, dims, dim, c.biases().qkv());
    wo = w.linear(tree.modules(layer, g.get(1)).getFirst(), dim, dim, c.biases().output());
    wUp = w.linear(tree.modules(layer, g.get(2)).getFirst(), c.ffnSize(), dim, c.biases().mlp());
    wDown = w.linear(tree.modules(layer, g.get(3)).getFirst(), dim, c.ffnSize(), c.biases().mlp());
  }

  private Norm norm(WeightLoader w, String name) {
    return Norm.load(w, Norm.Kind.LAYER, c.tree().module(layer, name), c.hiddenSize(), c.normEps());
  }

  static Block load(Engine engine, Config config, Weights weights, int layer) {
    try (var loader = new WeightLoader(engine, weights)) {
      var block = new GptBlock(loader, config, layer);
      loader.keep();
      return block;
    }
  }

  @Override
  public void forward(Ops ops, Scratch scratch, Tensor x, BatchDescriptor batch, KvLayer kv) {
    Scratch.Views s = scratch.views(batch.tokens());

    qkv.forward(ops, s.qkv(), s.q(), s.k(), s.v(), before(ops, attnNorm, s.h(), x));
    ops.kvAppend(kv, s.k(), s.v(), batch);
    ops.attention(s.att(), s.q(), kv, batch, c.heads(), c.layer().get(layer).attentionScale(), 0);
    ops.linearAdd(x, s.att(), wo);
    after(ops, attnNorm, x);

    ops.linear(s.gate(), before(ops, mlpNorm, s.h(), x), wUp);
    ops.activate(s.gate(), c.activation(), s.gate());
    ops.linearAdd(x, s.gate(), wDown);
    after(ops, mlpNorm, x);
  }

  private Tensor before(Ops ops, Norm norm, Tensor h, Tensor x) {
    if (!c.preNorm()) {
      return x;
    }
    norm.forward(ops, h, x);
    return h;
  }

  private void after(Ops ops, Norm norm, Tensor x) {
    if (!c.preNorm()) {
      norm.forward(ops, x, x);
    }
  }

  @Override
  public List<Linear> linears() {
    return Stream.concat(qkv.linears().stream(), Stream.of(wo, wUp, wDown)).toList();
  }

  @Override
  public void close() {
    linears().forEach(Linear::close);
  }
}
