package org.nanomodel.bench;

import org.nanomodel.ops.Sampling;
import org.nanomodel.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/** From logits to a token, over the vocabulary of Llama 3. */
public class SamplingBenchmark extends OpBenchmark {
  private static final int VOCAB = 128_256;
  private static final Sampling NUCLEUS = new Sampling(0.8f, 40, 0.9f, 0);

  private Tensor logits;
  private Tensor probabilities;
  private Tensor uniform;
  private Tensor ids;

  @Override
  Work prepare(String benchmark) {
    logits = normals(1, VOCAB);
    probabilities = zeros(1, VOCAB);
    uniform = Tensor.ofFloats(arena, new float[] {0.7f}, 1);
    ids = Tensor.ofInts(arena, new int[] {0});
    return Work.streaming(benchmark.endsWith("softmax") ? Traffic.COPY : Traffic.READ, 4.0 * VOCAB);
  }

  @Benchmark
  public void softmax() {
    ops.softmax(probabilities, logits, 1);
  }

  @Benchmark
  public void greedy() {
    ops.sample(ids, logits, Sampling.GREEDY, null, null);
  }

  @Benchmark
  public void topKTopP() {
    ops.sample(ids, logits, NUCLEUS, uniform, null);
  }
}
