package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.F16;
import static org.nanomodel.tensor.DataType.I16;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WordLayout;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * AWQ's GEMV_FAST layout, which is llm-awq's second: qweight I16 [N/4, K], scales and qzeros F16 [8
 * zw, N], 0 from row G on, qzeros holding -scale * zero (see {@link FloatZeros}); llm-awq calls
 * them scaled_zeros. zw as in {@link GemvCodec}.
 */
final class GemvFastCodec extends Codec {
  private static final WordLayout LAYOUT = WordLayout.GEMV_FAST;
  private static final int BITS = 4;
  private static final long PADDING = 8;

  @Override
  public Format format() {
    return Format.GEMV_FAST;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, BITS)
        .or(() -> ModuleParts.refuseOrder(scheme))
        .or(() -> GemvCodec.refuseGroup(scheme));
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return ModuleParts.refuseShape("rows", n, LAYOUT.rowMultiple())
        .or(() -> ModuleParts.refuseShape("columns", k, LAYOUT.columnMultiple()))
        .or(() -> ModuleParts.refuseShortGroup(k, scheme));
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    long rows = PADDING * GemvCodec.zeroWords(k, scheme);
    return List.of(
        new TensorSpec(module + ".qweight", DType.I16, LAYOUT.shape(n, k, BITS)),
        new TensorSpec(module + ".scales", DType.F16, rows, n),
        new TensorSpec(module + ".qzeros", DType.F16, rows, n));
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
    long rows = PADDING * GemvCodec.zeroWords(w.k(), scheme);
    Tensor scales = Shuffles.withRows(arena, ModuleParts.scales(w), rows);
    Tensor zeros = Shuffles.withRows(arena, FloatZeros.of(arena, module, weight, scaleType), rows);
    return List.of(
        ModuleParts.words(arena, ops, ModuleParts.codes(w), LAYOUT, BITS),
        ModuleParts.inRange(arena, ops, module, "scale", scales, scaleType),
        ModuleParts.inRange(arena, ops, module, "scale * zero", zeros, scaleType));
  }

  @Override
  String mark() {
    return "qweight";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I16), -1, -1);
    return new Header(Math.multiplyExact(qweight.rows(), 4L), qweight.cols(), scheme, F16);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    ModuleScheme scheme = h.scheme();
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I16), -1, -1);
    boolean whole = h.n() > 0 && h.k() > 0 && h.k() % LAYOUT.columnMultiple() == 0;
    ModuleParts.require(
        whole
            && scheme.bits() == BITS
            && h.k() % scheme.groupOf(h.k()) == 0
            && h.k() <= Integer.MAX_VALUE,
        stored,
        config,
        scheme,
        module + ".qweight",
        qweight);
    var w = QuantizedWeight.allocate(arena, BITS, h.n(), h.k(), scheme.groupOf(h.k()), null);
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, qweight), LAYOUT, BITS);
    long rows = PADDING * GemvCodec.zeroWords(h.k(), scheme);
    String zeros = module + (config.format().equals("llm-awq") ? ".scaled_zeros" : ".qzeros");
    Tensor scales = part(arena, ops, stored, module + ".scales", rows, w);
    ModuleParts.copyScales(w, scales);
    return FloatZeros.weight(w, part(arena, ops, stored, zeros, rows, w), F16);
  }

  private static Tensor part(
      Arena arena, Ops ops, StoredTensors stored, String name, long rows, QuantizedWeight w) {
    Tensor t = stored.tensor(name, List.of(F16), rows, w.n());
    return ModuleParts.floats(arena, ops, stored, name, t).rows(0, w.groups());
  }
}
