package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import org.nanomodel.BadModelException;
import org.nanomodel.NativeException;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Config;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The float weights of the source, as methods want them. */
final class LayerFloats {
  private final ModelDirectory source;
  private final Config model;

  LayerFloats(ModelDirectory source) {
    this.source = source;
    this.model = source.config();
  }

  /** The module whose weight this one has: the embedding, for a head that is tied to it. */
  private String holder(String module) {
    boolean tied = model.tiedEmbeddings() && module.equals(model.tree().head());
    return tied ? model.tree().embedding() : module;
  }

  /** W of a module, F32 [N, K], in the arena. */
  Tensor of(Arena arena, Ops ops, String module) {
    var weight = (FloatWeight) source.linear(arena, holder(module));
    Tensor stored = Tensor.of(weight.type(), weight.data(), weight.n(), weight.k());
    if (weight.type() == DataType.F32) {
      return stored;
    }
    Tensor f32 = Tensor.allocate(arena, DataType.F32, weight.n(), weight.k());
    ops.convert(f32, stored);
    return f32;
  }

  /** A refusal by native code, with the tensor that it is about. */
  RuntimeException named(String module, NativeException e) {
    return e.code() != NativeException.ARGUMENT
        ? e
        : new BadModelException(
            source.path()
                + ": tensor '"
                + module
                + ".weight' cannot be quantized: "
                + e.getMessage(),
            e);
  }
}
