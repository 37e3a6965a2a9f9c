package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.LowRank;
import org.nanomodel.ops.PackedImage;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.Tensor;

/**
 * The named weights of a checkpoint, whatever its format. A graph loads through this and never asks
 * for a format.
 */
public interface Weights {
  /** Whether the checkpoint holds a tensor of this full name. */
  boolean has(String tensor);

  /** A float tensor as stored, borrowed from the checkpoint. */
  Tensor tensor(String name);

  /** The same, in memory of {@code arena} where the checkpoint's may vanish. */
  default Tensor tensor(Arena arena, String name) {
    return tensor(name);
  }

  /**
   * The weight of a linear module: {@code module.weight}, or {@code module.qweight} and what
   * belongs to it.
   */
  WeightData linear(Arena arena, String module);

  /** What an adapter adds to the product of a linear module; nothing as a rule. */
  default Optional<LowRank> adapter(Arena arena, String module) {
    return Optional.empty();
  }

  /**
   * The image that an earlier load packed of modules side by side in N, without what an adapter
   * adds; nothing as a rule.
   *
   * @param owner of the image's memory
   */
  default Optional<PackedImage> image(Arena owner, List<String> modules) {
    return Optional.empty();
  }

  /** {@code module.bias} as f32 [N], if the module has one. */
  Optional<MemorySegment> bias(Arena arena, String module);
}
