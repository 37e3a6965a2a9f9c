package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** A quantized module as a checkpoint holds it. */
public record StoredWeight(QuantizedWeight codes) {
  /** A weight that is nothing but canonical. */
  public static StoredWeight of(QuantizedWeight codes) {
    return new StoredWeight(codes);
  }

  /** What the weight stands for, F32 [N, K]. */
  Tensor floats(Arena arena, Ops ops) {
    Tensor f32 = Tensor.allocate(arena, DataType.F32, codes.n(), codes.k());
    ops.dequantize(f32, codes);
    return f32;
  }

  /** The weight as a linear takes it. */
  WeightData weight(Arena arena, Ops ops) {
    return codes;
  }
}
