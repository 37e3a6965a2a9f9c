package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.LowRank;
import org.nanomodel.ops.PackedImage;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.Tensor;

/** Weights of another, all of them; override what is to be another. */
public interface ForwardingWeights extends Weights {
  /** Where the weights come from. */
  Weights base();

  @Override
  default boolean has(String tensor) {
    return base().has(tensor);
  }

  @Override
  default Tensor tensor(String name) {
    return base().tensor(name);
  }

  @Override
  default Tensor tensor(Arena arena, String name) {
    return base().tensor(arena, name);
  }

  @Override
  default WeightData linear(Arena arena, String module) {
    return base().linear(arena, module);
  }

  @Override
  default Optional<LowRank> adapter(Arena arena, String module) {
    return base().adapter(arena, module);
  }

  @Override
  default Optional<PackedImage> image(Arena owner, List<String> modules) {
    return base().image(owner, modules);
  }

  @Override
  default Optional<MemorySegment> bias(Arena arena, String module) {
    return base().bias(arena, module);
  }
}
