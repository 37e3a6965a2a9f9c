package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** data: [N, K] of F32, F16 or BF16, dense. */
public record FloatWeight(DataType type, long n, long k, MemorySegment data) implements WeightData {
  public FloatWeight {
    if (type != DataType.F32 && type != DataType.F16 && type != DataType.BF16) {
      throw new IllegalArgumentException(
          "float weight of type " + type + ", expected F32, F16 or BF16");
    }
    Checks.atLeast("data", data, Tensor.byteSize(type, n, k));
  }

  /** The weights below each other (along N), copied; empty unless type and K agree. */
  public static Optional<FloatWeight> concat(Arena arena, List<FloatWeight> weights) {
    FloatWeight first = weights.getFirst();
    if (weights.stream().anyMatch(w -> w.type != first.type || w.k != first.k)) {
      return Optional.empty();
    }
    long n = weights.stream().mapToLong(FloatWeight::n).reduce(0, Math::addExact);
    MemorySegment all = Tensor.allocate(arena, first.type, n, first.k).segment();
    long at = 0;
    for (FloatWeight w : weights) {
      long bytes = Tensor.byteSize(w.type, w.n, w.k);
      MemorySegment.copy(w.data, 0, all, at, bytes);
      at += bytes;
    }
    return Optional.of(new FloatWeight(first.type, n, first.k, all));
  }
}
