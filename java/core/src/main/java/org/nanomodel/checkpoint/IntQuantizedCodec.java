package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.I8;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * compressed-tensors' int-quantized: weight I8 [N, K], weight_scale [N, 1]. What W8A8 checkpoints
 * are; {@link QuantizationConfig#activations} tells whether their inputs are int8 as well.
 */
final class IntQuantizedCodec extends CompressedCodec {
  private static final int BITS = 8;

  @Override
  public Format format() {
    return Format.INT_QUANTIZED;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, BITS)
        .or(() -> ModuleParts.refuseZeros(scheme))
        .or(() -> ModuleParts.refuseOrder(scheme))
        .or(() ->
            scheme.groupSize() < 0
                ? Optional.empty()
                : Optional.of("it holds a scale a row (group_size -1), no groups"));
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    return List.of(
        new TensorSpec(module + ".weight", DType.I8, n, k),
        new TensorSpec(module + ".weight_scale", DType.valueOf(scaleType.name()), n, 1));
  }

  @Override
  public List<Tensor> pack(
      Arena arena,
      Ops ops,
      String module,
      StoredWeight weight,
      ModuleScheme scheme,
      DataType scaleType) {
    QuantizedWeight w = weight.codes();
    ModuleParts.requireSymmetric(module, w, format());
    return List.of(
        Shuffles.shifted(arena, ModuleParts.codes(w), BITS),
        packScales(arena, ops, module, w, scaleType));
  }

  @Override
  String mark() {
    return "weight_scale";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Tensor weight = stored.tensor(module + ".weight", List.of(I8), -1, -1);
    boolean fits =
        scheme.bits() == BITS
            && weight.count() > 0
            && weight.cols() <= Integer.MAX_VALUE
            && weight.cols() % scheme.groupOf(weight.cols()) == 0;
    ModuleParts.require(fits, stored, config, scheme, module + ".weight", weight);
    return new Header(weight.rows(), weight.cols(), scheme, stored.type(module + ".weight_scale"));
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    Tensor weight = stored.tensor(module + ".weight", List.of(I8), h.n(), h.k());
    long group = h.scheme().groupOf(h.k());
    var codes = Shuffles.shifted(arena, weight, BITS).segment();
    var w = QuantizedWeight.allocate(arena, BITS, h.n(), h.k(), group, null, codes);
    readScales(arena, ops, stored, module, w);
    readZeros(arena, ops, stored, module, h.scheme(), w);
    return StoredWeight.of(w);
  }
}
