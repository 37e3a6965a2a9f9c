package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.util.List;
import org.nanomodel.Format;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The tensors of a GPTQ module by name, for tests that spoil them. */
record GptqParts(Tensor qweight, Tensor qzeros, Tensor scales, Tensor gIdx) {
  private static final ModuleScheme SCHEME = new ModuleScheme(4, -1, true, false);

  static GptqParts pack(Arena arena, Ops ops, String module, QuantizedWeight w, Format format) {
    List<Tensor> parts = Codec.of(format).pack(arena, ops, module, w, SCHEME, DataType.F16);
    return new GptqParts(parts.get(0), parts.get(1), parts.get(2), parts.get(3));
  }

  static List<TensorSpec> specs(String module, long n, long k, int bits, long group) {
    var scheme = new ModuleScheme(bits, group, true, false);
    return Codec.of(Format.GPTQ_V2).specs(module, n, k, scheme, DataType.F16);
  }
}
