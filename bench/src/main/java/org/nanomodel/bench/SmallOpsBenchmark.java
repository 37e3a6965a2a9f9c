package org.nanomodel.bench;

import org.nanomodel.ops.Activation;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.RopeTable;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * What stands between the linears, in the shapes of Llama 3.2 1B: rows of 2048, 32 heads of 64, a
 * feed-forward of 8192. One row is decode, 512 a chunk of a prompt.
 */
public class SmallOpsBenchmark extends OpBenchmark {
  private static final int HIDDEN = 2048;
  private static final int HEADS = 32;
  private static final int FFN = 8192;
  private static final float EPS = 1e-5f;

  @Param({"1", "512"})
  int rows;

  private Tensor x;
  private Tensor y;
  private Tensor weight;
  private Tensor gate;
  private Tensor up;
  private Tensor ffn;
  private RopeTable table;

  @Override
  Work prepare(String benchmark) {
    x = normals(rows, HIDDEN);
    y = zeros(rows, HIDDEN);
    weight = normals(HIDDEN);
    gate = normals(rows, FFN);
    up = normals(rows, FFN);
    ffn = zeros(rows, FFN);
    var angles = new float[HIDDEN / HEADS / 2];
    for (int i = 0; i < angles.length; i++) {
      angles[i] = (float) Math.pow(500_000, -i / (double) angles.length);
    }
    table = new RopeTable(arena, angles, 1, false, rows);
    var batch = new BatchDescriptor(arena, rows, 1, rows);
    batch.add(new int[] {0}, 1, 0, rows);
    ops.ropeTable(table, batch);
    if (benchmark.endsWith("siluMul")) {
      return Work.streaming(Traffic.COMBINE, 4.0 * rows * FFN);
    }
    return Work.streaming(
        benchmark.endsWith("rope") ? Traffic.UPDATE : Traffic.COPY, 4.0 * rows * HIDDEN);
  }

  @Benchmark
  public void rmsNorm() {
    ops.rmsNorm(y, x, weight, EPS);
  }

  @Benchmark
  public void layerNorm() {
    ops.layerNorm(y, x, weight, weight, EPS);
  }

  @Benchmark
  public void rope() {
    ops.rope(x, HEADS, table);
  }

  @Benchmark
  public void siluMul() {
    ops.activateMul(ffn, Activation.SILU, gate, up); // in place, numbers would become subnormal
  }
}
