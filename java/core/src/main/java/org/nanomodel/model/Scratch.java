package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.RopeTable;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The work memory of a step, sized once for the largest, shared by all blocks. The views of a step
 * of T tokens are made when T first occurs, so that a decode loop allocates nothing.
 */
public final class Scratch {
  /**
   * The tensors of a step of T tokens.
   *
   * @param x hidden states [T, dim]
   * @param h normed [T, dim]
   * @param qkv [T, (H + 2 KV) D]: queries, keys, values side by side
   * @param q first H D columns of qkv
   * @param k next KV D
   * @param v last KV D
   * @param qk queries and keys
   * @param att attention's output [T, H D]
   * @param gateUp [T, 2 ffn]
   * @param gate first ffn columns of gateUp
   * @param up last ffn
   */
  record Views(
      Tensor x,
      Tensor h,
      Tensor qkv,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor qk,
      Tensor att,
      Tensor gateUp,
      Tensor gate,
      Tensor up) {}

  private final Config config;
  private final int maxTokens;
  private final Tensor x;
  private final Tensor h;
  private final Tensor qkv;
  private final Tensor att;
  private final Tensor gateUp;
  private final Views[] views;
  private final Map<RopeConfig, RopeTable> tables = new HashMap<>();
  private final RopeTable[] tableOfLayer;

  public Scratch(Config config, int maxTokens) {
    this.config = config;
    this.maxTokens = maxTokens;
    Arena arena = Arena.ofAuto();
    x = Tensor.allocate(arena, DataType.F32, maxTokens, config.hiddenSize());
    h = Tensor.allocate(arena, DataType.F32, maxTokens, config.hiddenSize());
    qkv = Tensor.allocate(arena, DataType.F32, maxTokens, config.queryDim() + 2L * config.kvDim());
    att = Tensor.allocate(arena, DataType.F32, maxTokens, config.queryDim());
    gateUp = Tensor.allocate(arena, DataType.F32, maxTokens, 2L * config.ffnSize());
    views = new Views[maxTokens + 1];
    tableOfLayer = new RopeTable[config.layers()];
    for (int i = 0; i < tableOfLayer.length; i++) {
      tableOfLayer[i] = config.layer().get(i).rope().map(this::table).orElse(null);
    }
  }

  private RopeTable table(RopeConfig rope) {
    return tables.computeIfAbsent(
        rope,
        r -> new RopeTable(Arena.ofAuto(), r.invFreq(), r.attentionFactor(), false, maxTokens));
  }

  public int maxTokens() {
    return maxTokens;
  }

  /** Prepares what all blocks of a step share. */
  public void begin(Ops ops, BatchDescriptor batch) {
    for (RopeTable table : tables.values()) {
      ops.ropeTable(table, batch);
    }
  }

  /** The hidden states of a step of T tokens: [T, dim]. */
  public Tensor x(int tokens) {
    return views(tokens).x();
  }

  /** Null where positions are embedded. */
  RopeTable rope(int layer) {
    return tableOfLayer[layer];
  }

  Views views(int tokens) {
    if (tokens < 1 || tokens > maxTokens) {
      throw new IllegalArgumentException(
          "a step of " + tokens + " tokens, expected 1 to " + maxTokens);
    }
    if (views[tokens] == null) {
      views[tokens] = make(tokens);
    }
    return views[tokens];
  }

  private Views make(int n) {
    int qd = config.queryDim();
    int kd = config.kvDim();
    Tensor all = qkv.rows(0, n);
    Tensor gu = gateUp.rows(0, n);
    return new Views(
        x.rows(0, n),
        h.rows(0, n),
        all,
        all.columns(0, qd),
        all.columns(qd, kd),
        all.columns(qd + kd, kd),
        all.columns(0, qd + kd),
        att.rows(0, n),
        gu,
        gu.columns(0, config.ffnSize()),
        gu.columns(config.ffnSize(), config.ffnSize()));
  }
}
