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
 * One decoder layer of LLaMA, Mistral, Qwen2 (q/k/v with bias) and Qwen3 (queries and keys normed
 * head by head): x += attention(norm(x)); x += mlp(norm(x)), with rotary positions and a gated MLP
 * (Touvron et al. 2023).
 */
final class LlamaBlock implements Block {
  private final Config c;
  private final int layer;
  private final Tensor attnNorm;
  private final Tensor mlpNorm;
  private final Tensor qNorm; // null but in Qwen3
  private final Tensor kNorm;
  private final Projection qkv;
  private final Linear wo;
  private final Projection gateUp;
  private final Linear wDown;

  private LlamaBlock(WeightLoader w, Config c, int layer) {
    this.c = c;
    this.layer = layer;
    ModuleTree tree = c.tree();
    List<ModuleTree.Group> g = tree.groups();
    long dim = c.hiddenSize();
    long ffn = c.ffnSize();
    boolean headNorms = tree.norms().contains("self_attn.q_norm");
    attnNorm = w.vector(tree.module(layer, "input_layernorm.weight"), dim);
    mlpNorm = w.vector(tree.module(layer, "post_attention_layernorm.weight"), dim);
    qNorm = headNorms ? w.vector(tree.module(layer, "self_attn.q_norm.weight"), c.headDim()) : null;
    kNorm = headNorms ? w.vector(tree.module(layer, "self_attn.k_norm.weight"), c.headDim()) : null;
    long[] qkvDims = {c.queryDim(), c.kvDim(), c.kvDim()};
    qkv = w.projection(tree.modules(layer, g.get(0)), qkvDims, dim, c.biases().qkv());
    wo = w.linear(tree.modules(layer, g.get(1)).getFirst(), dim, c.queryDim(), c.biases().output());
    gateUp =
        w.projection(tree.modules(layer, g.get(2)), new long[] {ffn, ffn}, dim, c.biases().mlp());
    wDown = w.linear(tree.modules(layer, g.get(3)).getFirst(), dim, ffn, c.biases().mlp());
  }

  static Block load(Engine engine, Config config, Weights weights, int layer) {
    try (var loader = new WeightLoader(engine, weights)) {
      var block = new LlamaBlock(loader, config, layer);
      loader.keep();
      return block;
    }
  }

  @Override
  public void forward(Ops ops, Scratch scratch, Tensor x, BatchDescriptor batch, KvLayer kv) {
    Scratch.Views s = scratch.views(batch.tokens());
    Config.Layer own = c.layer().get(layer);

    ops.rmsNorm(s.h(), x, attnNorm, c.normEps());
    qkv.forward(ops, s.qkv(), s.q(), s.k(), s.v(), s.h());
    if (qNorm != null) {
      ops.rmsNorm(s.q(), s.q(), c.heads(), qNorm, c.normEps());
      ops.rmsNorm(s.k(), s.k(), c.kvHeads(), kNorm, c.normEps());
    }
    ops.rope(s.qk(), c.heads() + c.kvHeads(), scratch.rope(layer));
    ops.kvAppend(kv, s.k(), s.v(), batch);
    ops.attention(s.att(), s.q(), kv, batch, c.heads(), own.attentionScale(), own.window());
    ops.linearAdd(x, s.att(), wo);

    ops.rmsNorm(s.h(), x, mlpNorm, c.normEps());
    gateUp.forward(ops, s.gateUp(), s.gate(), s.up(), s.h());
    ops.activateMul(s.gate(), c.activation(), s.gate(), s.up());
    ops.linearAdd(x, s.gate(), wDown);
  }

  @Override
  public List<Linear> linears() {
    return Stream.of(qkv.linears(), List.of(wo), gateUp.linears(), List.of(wDown))
        .flatMap(List::stream)
        .toList();
  }

  @Override
  public void close() {
    linears().forEach(Linear::close);
  }
}
