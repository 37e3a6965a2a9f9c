package org.nanomodel.ops;

import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * What a model is made of: one method a kernel. The result comes first, as in an assignment.
 * Activations are F32 and may be views with a row stride; T = tokens of the step, one row each.
 * Shapes are checked before native code is called.
 *
 * <p>A graph sees only this interface, so that calibration can read the inputs of linears through a
 * {@link ForwardingOps}.
 */
public interface Ops {
  Engine engine();

  /** y = x converted to y's type, element by element; both dense. */
  void convert(Tensor y, Tensor x);

  /**
   * y[M,N] = x[M,K] W^T + bias of w + residual. All other linears come through here.
   *
   * @param residual [M,N], may be y, or null
   */
  void linear(Tensor y, Tensor x, Linear w, Tensor residual);

  /** y = x W^T + bias. */
  default void linear(Tensor y, Tensor x, Linear w) {
    linear(y, x, w, null);
  }

  /** y += x W^T + bias. */
  default void linearAdd(Tensor y, Tensor x, Linear w) {
    linear(y, x, w, y);
  }

  /**
   * y[t] = table[ids[t]] + residual[t]; ids: I32 [T]; table: F32, F16 or BF16 [V, dim].
   *
   * @param residual F32 [T, dim], may be y, or null
   */
  void embedding(Tensor y, Tensor table, Tensor ids, Tensor residual);

  /** y[t] = table[ids[t]] as F32. */
  default void embedding(Tensor y, Tensor table, Tensor ids) {
    embedding(y, table, ids, null);
  }

  /** y[t] += table[ids[t]]. */
  default void embeddingAdd(Tensor y, Tensor table, Tensor ids) {
    embedding(y, table, ids, y);
  }

  /** y = x / sqrt(mean(x^2) + eps) * weight, row by row; y may be x. */
  default void rmsNorm(Tensor y, Tensor x, Tensor weight, float eps) {
    rmsNorm(y, x, 1, weight, eps);
  }

  /** The same over each of {@code heads} equal parts of a row; weight: [cols / heads]. */
  void rmsNorm(Tensor y, Tensor x, int heads, Tensor weight, float eps);

  /** y = (x - mean) / sqrt(var + eps) * weight + bias; weight and bias may be null. */
  void layerNorm(Tensor y, Tensor x, Tensor weight, Tensor bias, float eps);

  /** Fills the table for the positions of a step. */
  void ropeTable(RopeTable table, BatchDescriptor batch);

  /** Rotates each of {@code heads} equal parts of the rows of x in place. */
  void rope(Tensor x, int heads, RopeTable table);

  /** Writes key and value [T, KV * D] of each token to its place in the cache. */
  void kvAppend(KvLayer kv, Tensor key, Tensor value, BatchDescriptor batch);

  /**
   * Causal attention of q [T, H * D] over the cache, which holds the step's own tokens already.
   *
   * @param window only the last so many positions, the own included; 0 = all
   */
  void attention(
      Tensor y, Tensor q, KvLayer kv, BatchDescriptor batch, int heads, float scale, int window);

  /** y = act(x); y may be x. */
  void activate(Tensor y, Activation kind, Tensor x);

  /** y = act(x) * up; y may be either. */
  void activateMul(Tensor y, Activation kind, Tensor x, Tensor up);

  /** gate = silu(gate) * up. */
  default void siluMul(Tensor gate, Tensor up) {
    activateMul(gate, Activation.SILU, gate, up);
  }

  /** y = softmax(x / temperature) of each row; y may be x. */
  void softmax(Tensor y, Tensor x, float temperature);

  /**
   * ids[row] = the next token of logits[row].
   *
   * @param ids I32 [rows]
   * @param uniform F32 [rows] in [0, 1); may be null at temperature 0
   * @param logprobs F32 [rows], log softmax(logits)[ids], or null
   */
  void sample(Tensor ids, Tensor logits, Sampling how, Tensor uniform, Tensor logprobs);

  /** nll[row] = -log softmax(logits[row])[targets[row]]; nll: F64 [rows], targets: I32 [rows]. */
  void nll(Tensor nll, Tensor logits, Tensor targets);

  /**
   * kl[row] = divergence of softmax(logits[row]) from softmax(reference[row]), in nats; kl: F64
   * [rows].
   *
   * @param topReference I32 [rows], gets the likeliest token of the reference
   * @param top I32 [rows], gets the likeliest token of the logits
   */
  void kl(Tensor kl, Tensor reference, Tensor logits, Tensor topReference, Tensor top);

  /**
   * Round to nearest of w [N,K] (F32) into {@code out}.
   *
   * @param scaleType scales are rounded to it before the codes are taken
   */
  void rtn(QuantizedWeight out, Tensor w, Symmetry sym, DataType scaleType);

  /** w [N,K] (F32) = scales * (codes - zeros). */
  void dequantize(Tensor w, QuantizedWeight in);

  /** GPTQ's qweight [words(K), N] and qzeros [G, words(N)] to codes and zeros. */
  void gptqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros, GptqLayout layout);

  /** The reverse of {@link #gptqUnpack}. */
  void gptqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in, GptqLayout layout);

  /** AWQ's qweight (I32 [K, N/8]) and qzeros (I32 [G, N/8]), GEMM order, to codes and zeros. */
  void awqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros);

  /** The reverse of {@link #awqUnpack}. */
  void awqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in);

  /** Words of a layout to codes (U8 [N, K]). */
  void wordsUnpack(Tensor codes, Tensor words, WordLayout layout, int bits);

  /** The reverse of {@link #wordsUnpack}. */
  void wordsPack(Tensor words, Tensor codes, WordLayout layout, int bits);

  /**
   * gram += X^T X, and cross += (exact - X)^T X; x, exact: F32 [T, K].
   *
   * @param gram F64 [{@link GptqTriangle#triangle}], zeroed before the first call
   * @param cross F64 [{@link GptqTriangle#square}], or null, and exact with it
   */
  void gram(Tensor gram, Tensor x, Tensor cross, Tensor exact);

  /** The triangular factor of H = 2 / rows * gram; cross as in {@link #gram}, or null. */
  GptqTriangle.Used gptqFactor(
      GptqTriangle out, Tensor gram, Tensor cross, GptqTriangle.Damping how);

  /**
   * GPTQ's column loop over w [N,K] (F32, left as it is) into {@code out}.
   *
   * @return the sum of squared errors that 2 rows divide to the loss as reported
   */
  double gptqQuantize(QuantizedWeight out, Tensor w, GptqTriangle factor, GptqTriangle.Ranges how);

  /**
   * y = Q(w * scale) / scale, column by column: what rounding leaves of a scaled weight.
   *
   * @param y F32 [N,K], may be w
   * @param scale F32 [K], positive
   */
  void awqRound(Tensor y, Tensor w, Tensor scale, RoundingGrid grid);

  /**
   * Clips each group of w [N,K] (F32) to the range that rounding suits best, by the error of its
   * outputs.
   *
   * @param gram as of {@link #gram}
   * @param scale F32 [K] by which inputs are divided, or null
   */
  void awqClip(Tensor w, Tensor gram, Tensor scale, RoundingGrid grid);

  /**
   * The product b a (F32 [N,R] and [R,K]) that is nearest to d (F32 [N,K]) at the outputs of the
   * inputs that {@code gram} was made of: EoRA.
   *
   * @param gram as of {@link #gram}
   * @return what it takes off the squared error of the outputs
   */
  double eora(Tensor a, Tensor b, Tensor d, Tensor gram);
}
