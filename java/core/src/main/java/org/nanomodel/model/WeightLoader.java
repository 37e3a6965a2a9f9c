package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.LongStream;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.LinearAdapter;
import org.nanomodel.ops.LowRank;
import org.nanomodel.ops.PackedImage;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Named weights to what a graph runs on, with the shapes that the config promises checked. What was
 * loaded before a failure is freed by {@link #close}; {@link #keep} hands it over.
 */
final class WeightLoader implements AutoCloseable {
  private final Engine engine;
  private final Weights weights;
  private final List<Linear> loaded = new ArrayList<>();

  WeightLoader(Engine engine, Weights weights) {
    this.engine = engine;
    this.weights = weights;
  }

  /** A norm's weight as f32 [n], copied. */
  Tensor vector(String name, long n) {
    try (var arena = Arena.ofShared()) {
      return vector(name, required(arena, name), n);
    }
  }

  private Tensor vector(String name, Tensor stored, long n) {
    if (!stored.type().isFloat() || stored.rank() != 1 || stored.count() != n) {
      throw new BadModelException(
          "tensor "
              + name
              + " is "
              + stored
              + ", expected a float vector of "
              + n
              + " as config.json says");
    }
    Tensor copy = Tensor.allocate(Arena.ofAuto(), DataType.F32, n);
    engine.ops().convert(copy, stored);
    return copy;
  }

  /** A float matrix [rows, cols], copied; types that kernels do not read become F32. */
  Tensor matrix(Arena owner, String name, long rows, long cols) {
    try (var arena = Arena.ofShared()) {
      return matrix(owner, name, required(arena, name), rows, cols);
    }
  }

  private Tensor matrix(Arena owner, String name, Tensor stored, long rows, long cols) {
    if (!stored.type().isFloat() || !stored.hasShape(rows, cols)) {
      throw new BadModelException(
          "tensor "
              + name
              + " is "
              + stored
              + ", expected float ["
              + rows
              + ", "
              + cols
              + "] as config.json says");
    }
    boolean kept = stored.type() == DataType.F16 || stored.type() == DataType.BF16;
    Tensor copy = Tensor.allocate(owner, kept ? stored.type() : DataType.F32, rows, cols);
    if (kept || stored.type() == DataType.F32) {
      MemorySegment.copy(stored.segment(), 0, copy.segment(), 0, copy.segment().byteSize());
    } else {
      engine.ops().convert(copy, stored);
    }
    return copy;
  }

  private Tensor required(Arena arena, String name) {
    if (!weights.has(name)) {
      throw new BadModelException("tensor " + name + " is missing from the checkpoint");
    }
    return weights.tensor(arena, name);
  }

  Linear linear(String module, long n, long k, boolean bias) {
    try (var arena = Arena.ofShared()) {
      return linear(arena, module, n, k, bias ? bias(arena, module, n) : null);
    }
  }

  private Linear linear(Arena arena, String module, long n, long k, MemorySegment bias) {
    List<String> modules = List.of(module);
    return packed(arena, modules, new long[] {n}, k, bias)
        .orElseGet(() -> pack(arena, modules, new long[] {n}, weight(arena, module, n, k), bias));
  }

  /** The float weight of another tensor under a module's name: a tied head. */
  Linear tied(String module, Tensor table) {
    var w = new FloatWeight(table.type(), table.rows(), table.cols(), table.segment());
    List<String> modules = List.of(module);
    long[] n = {w.n()};
    try (var arena = Arena.ofShared()) {
      return packed(arena, modules, n, w.k(), null)
          .orElseGet(() -> pack(arena, modules, n, w, null));
    }
  }

  /** Modules that share an input of K features, fused where their weights allow it. */
  Projection projection(List<String> modules, long[] n, long k, boolean bias) {
    try (var arena = Arena.ofShared()) {
      var biases = new ArrayList<MemorySegment>();
      for (int i = 0; bias && i < n.length; i++) {
        biases.add(bias(arena, modules.get(i), n[i]));
      }
      List<Linear> known = packedParts(arena, modules, n, k, biases);
      if (!known.isEmpty()) {
        return new Projection(known);
      }
      var parts = new ArrayList<WeightData>();
      for (int i = 0; i < n.length; i++) {
        parts.add(weight(arena, modules.get(i), n[i], k));
      }
      Optional<? extends WeightData> fused = fuse(arena, parts);
      if (fused.isPresent()) {
        return new Projection(List.of(pack(arena, modules, n, fused.get(), concat(arena, biases))));
      }
      var linears = new ArrayList<Linear>();
      for (int i = 0; i < n.length; i++) {
        MemorySegment b = bias ? biases.get(i) : null;
        linears.add(pack(arena, List.of(modules.get(i)), new long[] {n[i]}, parts.get(i), b));
      }
      return new Projection(linears);
    }
  }

  private static Optional<? extends WeightData> fuse(Arena arena, List<WeightData> parts) {
    if (parts.stream().allMatch(FloatWeight.class::isInstance)) {
      return FloatWeight.concat(arena, parts.stream().map(FloatWeight.class::cast).toList());
    }
    if (parts.stream().allMatch(QuantizedWeight.class::isInstance)) {
      return QuantizedWeight.concat(
          arena, parts.stream().map(QuantizedWeight.class::cast).toList());
    }
    return Optional.empty();
  }

  private WeightData weight(Arena arena, String module, long n, long k) {
    WeightData w = weights.linear(arena, module);
    if (w.n() != n || w.k() != k) {
      throw new BadModelException(
          "module "
              + module
              + " has the shape ["
              + w.n()
              + ", "
              + w.k()
              + "], expected ["
              + n
              + ", "
              + k
              + "] as config.json says");
    }
    return w;
  }

  private MemorySegment bias(Arena arena, String module, long n) {
    MemorySegment b =
        weights
            .bias(arena, module)
            .orElseThrow(() ->
                new BadModelException("tensor " + module + ".bias is missing from the checkpoint"));
    if (b.byteSize() != 4 * n) {
      throw new BadModelException(
          "tensor " + module + ".bias has " + b.byteSize() / 4 + " elements, expected " + n);
    }
    return b;
  }

  /** One below the other; null when there are none. */
  private static MemorySegment concat(Arena arena, List<MemorySegment> parts) {
    if (parts.isEmpty()) {
      return null;
    }
    long bytes = parts.stream().mapToLong(MemorySegment::byteSize).sum();
    MemorySegment all = arena.allocate(bytes, Tensor.ALIGNMENT);
    long at = 0;
    for (MemorySegment p : parts) {
      MemorySegment.copy(p, 0, all, at, p.byteSize());
      at += p.byteSize();
    }
    return all;
  }

  /** Of images that were packed before: one of all modules, or one each; none as a rule. */
  private List<Linear> packedParts(
      Arena arena, List<String> modules, long[] n, long k, List<MemorySegment> biases) {
    Optional<Linear> fused = packed(arena, modules, n, k, concat(arena, biases));
    if (fused.isPresent()) {
      return List.of(fused.get());
    }
    var linears = new ArrayList<Linear>();
    for (int i = 0; i < n.length && linears.size() == i; i++) {
      MemorySegment bias = biases.isEmpty() ? null : biases.get(i);
      packed(arena, modules.subList(i, i + 1), new long[] {n[i]}, k, bias).ifPresent(linears::add);
    }
    return linears.size() == n.length ? linears : List.of();
  }

  private Optional<Linear> packed(
      Arena arena, List<String> modules, long[] n, long k, MemorySegment bias) {
    Arena owner = Arena.ofShared();
    LinearAdapter adapter = null;
    try {
      Optional<PackedImage> image = weights.image(owner, modules);
      if (image.isEmpty()) {
        owner.close();
        return Optional.empty();
      }
      adapter = adapter(arena, modules, n, k);
      Linear linear = Linear.of(engine, owner, modules, image.get(), bias, adapter);
      if (linear.n() != LongStream.of(n).sum() || linear.k() != k) {
        throw new BadModelException(
            "the packed image of " + linear.name() + " has another shape than config.json says");
      }
      loaded.add(linear);
      return Optional.of(linear);
    } catch (RuntimeException | Error e) {
      if (owner.scope().isAlive()) {
        owner.close();
      }
      if (adapter != null) {
        adapter.close();
      }
      throw e;
    }
  }

  /** Modules side by side in N, with what an adapter adds to each. */
  private Linear pack(
      Arena arena, List<String> modules, long[] n, WeightData w, MemorySegment bias) {
    LinearAdapter adapter = adapter(arena, modules, n, w.k());
    Linear linear = Linear.pack(engine, modules, w, bias, adapter);
    loaded.add(linear);
    return linear;
  }

  private LinearAdapter adapter(Arena arena, List<String> modules, long[] n, long k) {
    var added = new ArrayList<Optional<LowRank>>();
    for (int i = 0; i < n.length; i++) {
      added.add(lowRank(arena, modules.get(i), n[i], k));
    }
    return LinearAdapter.pack(engine, added, n);
  }

  private Optional<LowRank> lowRank(Arena arena, String module, long n, long k) {
    Optional<LowRank> part = weights.adapter(arena, module);
    part.filter(p -> p.n() != n || p.k() != k)
        .ifPresent(p -> {
          throw new BadModelException(
              "the adapter of module "
                  + module
                  + " is for the shape ["
                  + p.n()
                  + ", "
                  + p.k()
                  + "], expected ["
                  + n
                  + ", "
                  + k
                  + "]: is it one of another model?");
        });
    return part;
  }

  /** What was loaded belongs to the caller from now on. */
  void keep() {
    loaded.clear();
  }

  @Override
  public void close() {
    loaded.forEach(Linear::close);
  }
}
