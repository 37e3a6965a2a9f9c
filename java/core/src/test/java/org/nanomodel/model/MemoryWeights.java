package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Random weights that fit a config. */
final class MemoryWeights implements Weights {
  final Map<String, Tensor> tensors = new HashMap<>();
  final Map<String, WeightData> replaced = new HashMap<>();

  /** Seeded weights, small enough that activations stay near 1. */
  static MemoryWeights random(Config c, long seed) {
    var w = new MemoryWeights();
    var random = new Random(seed);
    ModuleTree tree = c.tree();
    w.put(random, tree.embedding() + ".weight", 1, c.vocabSize(), c.hiddenSize());
    w.put(random, tree.norm() + ".weight", 1, c.hiddenSize());
    w.put(random, tree.head() + ".weight", 1, c.vocabSize(), c.hiddenSize());
    for (int i = 0; i < c.layers(); i++) {
      for (String norm : tree.norms()) {
        w.put(
            random,
            tree.module(i, norm) + ".weight",
            1,
            norm.contains("self_attn") ? c.headDim() : c.hiddenSize());
      }
      w.linear(
          random,
          tree.module(i, "self_attn.q_proj"),
          c.queryDim(),
          c.hiddenSize(),
          c.biases().qkv());
      w.linear(
          random, tree.module(i, "self_attn.k_proj"), c.kvDim(), c.hiddenSize(), c.biases().qkv());
      w.linear(
          random, tree.module(i, "self_attn.v_proj"), c.kvDim(), c.hiddenSize(), c.biases().qkv());
      w.linear(
          random,
          tree.module(i, "self_attn.o_proj"),
          c.hiddenSize(),
          c.queryDim(),
          c.biases().output());
      w.linear(
          random, tree.module(i, "mlp.gate_proj"), c.ffnSize(), c.hiddenSize(), c.biases().mlp());
      w.linear(
          random, tree.module(i, "mlp.up_proj"), c.ffnSize(), c.hiddenSize(), c.biases().mlp());
      w.linear(
          random, tree.module(i, "mlp.down_proj"), c.hiddenSize(), c.ffnSize(), c.biases().mlp());
    }
    return w;
  }

  private void linear(Random random, String module, long n, long k, boolean bias) {
    put(random, module + ".weight", (float) (1 / Math.sqrt(k)), n, k);
    if (bias) {
      put(random, module + ".bias", 0.5f, n);
    }
  }

  private void put(Random random, String name, float scale, long... shape) {
    Tensor t = Tensor.allocate(Arena.ofAuto(), DataType.F32, shape);
    for (long r = 0; r < t.rows(); r++) {
      for (long c = 0; c < t.cols(); c++) {
        t.setFloat(r, c, scale * (float) random.nextGaussian());
      }
    }
    tensors.put(name, t);
  }

  @Override
  public boolean has(String tensor) {
    return tensors.containsKey(tensor);
  }

  @Override
  public Tensor tensor(String name) {
    return tensors.get(name);
  }

  @Override
  public WeightData linear(Arena arena, String module) {
    if (replaced.containsKey(module)) {
      return replaced.get(module);
    }
    Tensor t = tensors.get(module + ".weight");
    if (t == null) {
      throw new BadModelException("tensor " + module + ".weight is missing");
    }
    return new FloatWeight(t.type(), t.size(0), t.size(1), t.segment());
  }

  @Override
  public Optional<MemorySegment> bias(Arena arena, String module) {
    Tensor stored = tensors.get(module + ".bias");
    if (stored == null) {
      return Optional.empty();
    }
    if (stored.type() == DataType.F32) {
      return Optional.of(stored.segment());
    }
    Tensor f32 = Tensor.allocate(arena, DataType.F32, stored.count());
    TestEngine.get().ops().convert(f32, stored);
    return Optional.of(f32.segment());
  }
}
