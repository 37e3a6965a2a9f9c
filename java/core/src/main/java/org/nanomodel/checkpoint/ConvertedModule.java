package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * A module on its way into another format, as its own numbers say it is: symmetric when all zeros
 * are, ordered when its g_idx is.
 */
record ConvertedModule(long n, long k, ModuleScheme scheme, DataType scaleType) {
  /** What embeddings are called; only MLX quantizes them. */
  private static final Set<String> EMBEDDINGS =
      Set.of("embed_tokens", "wte", "word_embeddings", "embed_in", "wpe", "embed_positions");

  /** Decodes a module and refuses, with the reason, what the format cannot hold without loss. */
  static ConvertedModule of(
      ModelDirectory source, Arena scratch, Ops ops, Codec codec, String module) {
    Codec.Header header = source.header(module);
    StoredWeight weight = read(source, scratch, codec, module);
    QuantizedWeight w = weight.codes();
    long stated = header.scheme().groupSize();
    long group = weight.channelScales() != null ? w.groupSize() : stated;
    var scheme = new ModuleScheme(w.bits(), group, isSymmetric(weight), w.gIdx() != null);
    refusal(codec, module, weight, scheme)
        .or(() -> codec.refusal(scheme))
        .or(() -> codec.refusal(w.n(), w.k(), scheme))
        .ifPresent(why -> {
          throw refused(codec, module, why);
        });
    DataType type = codec.keptScaleType(header.scaleType(), scheme);
    requireExact(scratch, ops, codec, module, "scale", ModuleParts.scales(w), type);
    if (codec.format() == Format.MLX || codec.format() == Format.GEMV_FAST) {
      Tensor zeros = FloatZeros.of(scratch, module, weight, type);
      requireExact(scratch, ops, codec, module, "scale * zero", zeros, type);
    }
    return new ConvertedModule(w.n(), w.k(), scheme, type);
  }

  /** A module as the format takes it: only QQQ has two levels of scales. */
  static StoredWeight read(ModelDirectory source, Arena arena, Codec codec, String module) {
    StoredWeight weight = source.stored(arena, module);
    return codec.format() == Format.QQQ || weight.channelScales() == null
        ? weight
        : StoredWeight.of(weight.oneLevel(arena));
  }

  private static Optional<String> refusal(
      Codec codec, String module, StoredWeight weight, ModuleScheme scheme) {
    Format to = codec.format();
    if (weight.offsets() != null && to != Format.MLX && to != Format.GEMV_FAST) {
      return Optional.of("its zeros are floats behind which there are no integers");
    }
    if (to == Format.QQQ && weight.channelScales() == null && scheme.groupSize() > 0) {
      return Optional.of("groups become int8 weights there, which rounds them");
    }
    String name = module.substring(module.lastIndexOf('.') + 1);
    return to != Format.MLX && EMBEDDINGS.contains(name)
        ? Optional.of("it is an embedding, which only mlx quantizes")
        : Optional.empty();
  }

  private static boolean isSymmetric(StoredWeight weight) {
    if (weight.offsets() != null) {
      return false;
    }
    QuantizedWeight w = weight.codes();
    byte zero = (byte) (1 << w.bits() - 1);
    for (long i = 0; i < w.groups() * w.n(); i++) {
      if (w.zeros().get(ValueLayout.JAVA_BYTE, i) != zero) {
        return false;
      }
    }
    return true;
  }

  /** Values that a type cannot hold would be rounded. */
  private static void requireExact(
      Arena scratch,
      Ops ops,
      Codec codec,
      String module,
      String what,
      Tensor values,
      DataType type) {
    Tensor there = Tensor.allocate(scratch, type, values.shape());
    ops.convert(there, values);
    Tensor back = Tensor.allocate(scratch, DataType.F32, values.shape());
    ops.convert(back, there);
    long bytes = back.segment().byteSize();
    long at = MemorySegment.mismatch(values.segment(), 0, bytes, back.segment(), 0, bytes);
    if (at >= 0) {
      float value = values.segment().get(ValueLayout.JAVA_FLOAT_UNALIGNED, at / 4 * 4);
      throw refused(codec, module, "a " + what + " of " + value + " would be rounded to " + type);
    }
  }

  private static NanoModelException refused(Codec codec, String module, String why) {
    return new NanoModelException(
        "module "
            + module
            + " cannot be converted to format "
            + codec.format()
            + " without loss: "
            + why);
  }

  /** The same in a model whose modules agree on having zeros and an order. */
  ConvertedModule with(boolean sym, boolean descAct) {
    var scheme = new ModuleScheme(this.scheme.bits(), this.scheme.groupSize(), sym, descAct);
    return new ConvertedModule(n, k, scheme, scaleType);
  }

  List<TensorSpec> specs(Codec codec, String module) {
    return codec.specs(module, n, k, scheme, scaleType);
  }
}
