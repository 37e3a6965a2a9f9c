package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * AWQ's GEMM layout: qweight I32 [K, N/8], qzeros I32 [G, N/8], scales [G, N]. W[n,k] = scales[g,n]
 * * (codes[n,k] - zeros[g,n]), g = k / group_size; zeros are exact.
 */
final class GemmCodec extends Codec {
  private static final List<DataType> WORDS = List.of(DataType.I32);
  private static final int CODES_OF_A_WORD = 8;

  @Override
  public Format format() {
    return Format.GEMM;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, 4).or(() -> ModuleParts.refuseOrder(scheme));
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return ModuleParts.refuseShape("rows", n, CODES_OF_A_WORD)
        .or(() -> ModuleParts.refuseShortGroup(k, scheme));
  }

  @Override
  DataType keptScaleType(DataType stored, ModuleScheme scheme) {
    return stored == DataType.BF16 ? DataType.BF16 : DataType.F16;
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    long groups = scheme.groups(k);
    long words = n / CODES_OF_A_WORD;
    return List.of(
        new TensorSpec(module + ".qweight", DType.I32, k, words),
        new TensorSpec(module + ".qzeros", DType.I32, groups, words),
        new TensorSpec(module + ".scales", DType.valueOf(scaleType.name()), groups, n));
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
    Tensor qweight = Tensor.allocate(arena, DataType.I32, w.k(), w.n() / CODES_OF_A_WORD);
    Tensor qzeros = Tensor.allocate(arena, DataType.I32, w.groups(), w.n() / CODES_OF_A_WORD);
    ops.awqPack(qweight, qzeros, w);
    return List.of(qweight, qzeros, ModuleParts.packScales(arena, ops, module, w, scaleType));
  }

  @Override
  String mark() {
    return "qweight";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Tensor qweight = stored.tensor(module + ".qweight", WORDS, -1, -1);
    long n = Math.multiplyExact(qweight.cols(), (long) CODES_OF_A_WORD);
    DataType scales = ModuleParts.scales(stored, module, -1, n).type();
    return new Header(n, qweight.rows(), scheme, scales);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    if (scheme.bits() != 4) {
      throw new UnsupportedModelException(
          config.source() + ": module " + module + " has " + scheme.bits() + " bits, awq has 4");
    }
    Tensor qweight = stored.tensor(module + ".qweight", WORDS, -1, -1);
    long k = qweight.rows();
    long n = Math.multiplyExact(qweight.cols(), (long) CODES_OF_A_WORD);
    Tensor scales = ModuleParts.scales(stored, module, -1, n);
    boolean whole = n > 0 && k > 0 && k % scheme.groupOf(k) == 0;
    if (!whole || scheme.groups(k) != scales.rows() || k > Integer.MAX_VALUE) {
      throw ModuleParts.unfit(stored, config, scheme, module, qweight, scales, k);
    }
    Tensor qzeros = stored.tensor(module + ".qzeros", WORDS, scales.rows(), qweight.cols());
    long group = scheme.groupOf(k);
    var order = ModuleParts.order(arena, stored, module + ".g_idx", k, group);
    var w = QuantizedWeight.allocate(arena, scheme.bits(), n, k, group, order);
    ops.awqUnpack(w, StoredTensors.aligned(arena, qweight), StoredTensors.aligned(arena, qzeros));
    ModuleParts.readScales(arena, ops, stored, module, w, scales);
    return StoredWeight.of(w);
  }
}
