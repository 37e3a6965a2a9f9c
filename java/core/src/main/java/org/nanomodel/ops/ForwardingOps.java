package org.nanomodel.ops;

import java.util.Objects;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Hands every op on to another; override what is to be watched or changed. */
public class ForwardingOps implements Ops {
  private final Ops to;

  public ForwardingOps(Ops to) {
    this.to = Objects.requireNonNull(to);
  }

  @Override
  public Engine engine() {
    return to.engine();
  }

  @Override
  public void convert(Tensor y, Tensor x) {
    to.convert(y, x);
  }

  @Override
  public void linear(Tensor y, Tensor x, Linear w, Tensor residual) {
    to.linear(y, x, w, residual);
  }

  @Override
  public void embedding(Tensor y, Tensor table, Tensor ids, Tensor residual) {
    to.embedding(y, table, ids, residual);
  }

  @Override
  public void rmsNorm(Tensor y, Tensor x, int heads, Tensor weight, float eps) {
    to.rmsNorm(y, x, heads, weight, eps);
  }

  @Override
  public void layerNorm(Tensor y, Tensor x, Tensor weight, Tensor bias, float eps) {
    to.layerNorm(y, x, weight, bias, eps);
  }

  @Override
  public void ropeTable(RopeTable table, BatchDescriptor batch) {
    to.ropeTable(table, batch);
  }

  @Override
  public void rope(Tensor x, int heads, RopeTable table) {
    to.rope(x, heads, table);
  }

  @Override
  public void kvAppend(KvLayer kv, Tensor key, Tensor value, BatchDescriptor batch) {
    to.kvAppend(kv, key, value, batch);
  }

  @Override
  public void attention(
      Tensor y, Tensor q, KvLayer kv, BatchDescriptor batch, int heads, float scale, int window) {
    to.attention(y, q, kv, batch, heads, scale, window);
  }

  @Override
  public void activate(Tensor y, Activation kind, Tensor x) {
    to.activate(y, kind, x);
  }

  @Override
  public void activateMul(Tensor y, Activation kind, Tensor x, Tensor up) {
    to.activateMul(y, kind, x, up);
  }

  @Override
  public void softmax(Tensor y, Tensor x, float temperature) {
    to.softmax(y, x, temperature);
  }

  @Override
  public void sample(Tensor ids, Tensor logits, Sampling how, Tensor uniform, Tensor logprobs) {
    to.sample(ids, logits, how, uniform, logprobs);
  }

  @Override
  public void nll(Tensor nll, Tensor logits, Tensor targets) {
    to.nll(nll, logits, targets);
  }

  @Override
  public void kl(Tensor kl, Tensor reference, Tensor logits, Tensor topReference, Tensor top) {
    to.kl(kl, reference, logits, topReference, top);
  }

  @Override
  public void rtn(QuantizedWeight out, Tensor w, Symmetry sym, DataType scaleType) {
    to.rtn(out, w, sym, scaleType);
  }

  @Override
  public void dequantize(Tensor w, QuantizedWeight in) {
    to.dequantize(w, in);
  }

  @Override
  public void gptqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros, GptqLayout layout) {
    to.gptqUnpack(out, qweight, qzeros, layout);
  }

  @Override
  public void gptqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in, GptqLayout layout) {
    to.gptqPack(qweight, qzeros, in, layout);
  }

  @Override
  public void awqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros) {
    to.awqUnpack(out, qweight, qzeros);
  }

  @Override
  public void awqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in) {
    to.awqPack(qweight, qzeros, in);
  }

  @Override
  public void wordsUnpack(Tensor codes, Tensor words, WordLayout layout, int bits) {
    to.wordsUnpack(codes, words, layout, bits);
  }

  @Override
  public void wordsPack(Tensor words, Tensor codes, WordLayout layout, int bits) {
    to.wordsPack(words, codes, layout, bits);
  }

  @Override
  public void gram(Tensor gram, Tensor x, Tensor cross, Tensor exact) {
    to.gram(gram, x, cross, exact);
  }

  @Override
  public GptqTriangle.Used gptqFactor(
      GptqTriangle out, Tensor gram, Tensor cross, GptqTriangle.Damping how) {
    return to.gptqFactor(out, gram, cross, how);
  }

  @Override
  public double gptqQuantize(
      QuantizedWeight out, Tensor w, GptqTriangle factor, GptqTriangle.Ranges how) {
    return to.gptqQuantize(out, w, factor, how);
  }

  @Override
  public void awqRound(Tensor y, Tensor w, Tensor scale, RoundingGrid grid) {
    to.awqRound(y, w, scale, grid);
  }

  @Override
  public void awqClip(Tensor w, Tensor gram, Tensor scale, RoundingGrid grid) {
    to.awqClip(w, gram, scale, grid);
  }

  @Override
  public double eora(Tensor a, Tensor b, Tensor d, Tensor gram) {
    return to.eora(a, b, d, gram);
  }
}
