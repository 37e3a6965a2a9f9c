package org.nanomodel.bench;

import java.util.Arrays;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.KvLayer;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Causal attention over the paged cache, 32 heads and 8 for keys of 64: Llama 3.2 1B. */
public class AttentionBenchmark extends OpBenchmark {
  private static final int HEADS = 32;
  private static final int KV = 8;
  private static final int DIM = 64;
  private static final int BLOCK = 16;

  /** The positions of the step: the last one is decode, all are a prompt. */
  @Param({"1023-1024", "0-512"})
  String positions;

  private Tensor q;
  private Tensor y;
  private KvLayer kv;
  private BatchDescriptor batch;

  @Override
  Work prepare(String benchmark) {
    String[] ends = positions.split("-");
    int from = Integer.parseInt(ends[0]);
    int to = Integer.parseInt(ends[1]);
    int tokens = to - from;
    int blocks = Math.ceilDiv(to, BLOCK);
    q = normals(tokens, HEADS * DIM);
    y = zeros(tokens, HEADS * DIM);
    kv = new KvLayer(arena, normals(blocks, KV, DIM, BLOCK), normals(blocks, KV, BLOCK, DIM));
    batch = new BatchDescriptor(arena, tokens, 1, blocks);
    var order = new int[blocks];
    Arrays.setAll(order, i -> i);
    batch.add(order, blocks, from, tokens);
    double bytes = 8.0 * to * KV * DIM + 8.0 * tokens * HEADS * DIM;
    double seen = (from + to + 1.0) * tokens / 2;
    return new Work(Traffic.READ, bytes, bytes, 4 * seen * HEADS * DIM);
  }

  @Benchmark
  public void attention() {
    ops.attention(y, q, kv, batch, HEADS, 0.125f, 0);
  }
}
