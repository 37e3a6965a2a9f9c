package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.WeightData;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The float weights of a checkpoint, some of them copied and changed: what folding scales makes of
 * a model. A graph loads from it as from the checkpoint.
 */
final class FoldedWeights implements Weights {
  private final ModelDirectory source;
  private final Ops ops;
  private final Arena arena;
  private final Map<String, Tensor> copies = new LinkedHashMap<>();

  /**
   * @param arena of the copies
   */
  FoldedWeights(ModelDirectory source, Ops ops, Arena arena) {
    this.source = source;
    this.ops = ops;
    this.arena = arena;
  }

  /** W of a module, F32 [N, K], to be changed. */
  Tensor matrix(String module) {
    return copies.computeIfAbsent(
        module + ".weight",
        name -> {
          try (var scratch = Arena.ofConfined()) {
            Tensor stored = new LayerFloats(source).of(scratch, ops, module);
            Tensor copy = Tensor.allocate(arena, DataType.F32, stored.rows(), stored.cols());
            Copies.rows(copy, stored);
            return copy;
          }
        });
  }

  /** W of a module as it is now, F32 [N, K], to be read; in the arena where it was not copied. */
  Tensor floats(Arena scratch, String module) {
    Tensor copy = copies.get(module + ".weight");
    return copy != null ? copy : new LayerFloats(source).of(scratch, ops, module);
  }

  /** A vector, F32, to be changed; empty where the checkpoint has none of this name. */
  Optional<Tensor> vector(String name) {
    if (!source.has(name)) {
      return Optional.empty();
    }
    return Optional.of(
        copies.computeIfAbsent(
            name,
            n -> {
              Tensor stored = source.tensor(n);
              Tensor copy = Tensor.allocate(arena, DataType.F32, stored.count());
              ops.convert(copy, stored);
              return copy;
            }));
  }

  /** Rounds a vector to what the checkpoint can hold of it. */
  void roundAsStored(String name) {
    Tensor vector = copies.get(name);
    DataType type = typeOf(name);
    if (type != DataType.F32) {
      try (var scratch = Arena.ofConfined()) {
        Tensor stored = Tensor.allocate(scratch, type, vector.count());
        ops.convert(stored, vector);
        ops.convert(vector, stored);
      }
    }
  }

  private DataType typeOf(String name) {
    String stored = source.find(name).orElseThrow().dtype().name();
    return DataType.ofName(stored).orElseThrow();
  }

  /**
   * What was copied, as the checkpoint stores it.
   *
   * @param made modules whose weights go another way
   */
  Map<TensorSpec, Tensor> stored(Arena to, Set<String> made) {
    var tensors = new LinkedHashMap<TensorSpec, Tensor>();
    copies.forEach((name, copy) -> {
      String module = name.endsWith(".weight") ? name.substring(0, name.length() - 7) : "";
      if (!made.contains(module)) {
        TensorInfo info = source.find(name).orElseThrow();
        Tensor turned =
            copy.rank() == 2 && source.isTransposed(module) ? copy.transposed(to) : copy;
        Tensor stored = Tensor.allocate(to, typeOf(name), copy.shape());
        ops.convert(stored, turned.reshape(copy.shape()));
        tensors.put(new TensorSpec(name, info.dtype(), info.shape()), stored);
      }
    });
    return tensors;
  }

  @Override
  public boolean has(String tensor) {
    return source.has(tensor);
  }

  @Override
  public Tensor tensor(String name) {
    Tensor copy = copies.get(name);
    return copy != null ? copy : source.tensor(name);
  }

  @Override
  public WeightData linear(Arena to, String module) {
    Tensor copy = copies.get(module + ".weight");
    return copy == null
        ? source.linear(to, module)
        : new FloatWeight(DataType.F32, copy.rows(), copy.cols(), copy.segment());
  }

  @Override
  public Optional<MemorySegment> bias(Arena to, String module) {
    Tensor copy = copies.get(module + ".bias");
    return copy == null ? source.bias(to, module) : Optional.of(copy.segment());
  }
}
