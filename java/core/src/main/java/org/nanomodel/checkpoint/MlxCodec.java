package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.U32;

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
 * MLX's affine layout: weight U32 [N, K*bits/32], rows of bit streams; scales and biases [N, G] of
 * one float type, W = scales * q + biases (see {@link FloatZeros}). The embedding may be quantized
 * like a linear layer.
 */
final class MlxCodec extends Codec {
  private static final WordLayout ROWS = WordLayout.ROWS;
  private static final List<Integer> BITS = List.of(2, 3, 4, 5, 6, 8);
  private static final List<Long> GROUPS = List.of(32L, 64L, 128L);

  @Override
  public Format format() {
    return Format.MLX;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    if (!BITS.contains(scheme.bits())) {
      return Optional.of("it holds 2, 3, 4, 5, 6 or 8 bits, not " + scheme.bits());
    }
    return ModuleParts.refuseOrder(scheme)
        .or(() ->
            GROUPS.contains(scheme.groupSize())
                ? Optional.empty()
                : Optional.of("it holds groups of 32, 64 or 128, not " + scheme.groupSize()));
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return k % scheme.groupSize() == 0
        ? Optional.empty()
        : Optional.of(
            "group_size " + scheme.groupSize() + " does not divide its " + k + " columns");
  }

  /** The type of the model; bfloat16 loses 8-bit zeros, for which float16 is taken. */
  @Override
  public DataType scaleType(DataType weight, ModuleScheme scheme) {
    boolean exact = weight != DataType.BF16 || scheme.bits() < 8;
    return exact && ModuleParts.SCALE_TYPES.contains(weight) ? weight : DataType.F16;
  }

  @Override
  DataType keptScaleType(DataType stored, ModuleScheme scheme) {
    return stored;
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    long groups = scheme.groups(k);
    var floats = DType.valueOf(scaleType.name());
    return List.of(
        new TensorSpec(module + ".weight", DType.U32, ROWS.shape(n, k, scheme.bits())),
        new TensorSpec(module + ".scales", floats, n, groups),
        new TensorSpec(module + ".biases", floats, n, groups));
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
    Tensor biases = FloatZeros.of(arena, module, weight, scaleType);
    return List.of(
        ModuleParts.words(arena, ops, ModuleParts.codes(w), ROWS, w.bits()),
        rows(arena, ops, module, "scale", ModuleParts.scales(w), scaleType),
        rows(arena, ops, module, "scale * zero", biases, scaleType));
  }

  private static Tensor rows(
      Arena arena, Ops ops, String module, String what, Tensor groups, DataType type) {
    return ModuleParts.inRange(arena, ops, module, what, Shuffles.transposed(arena, groups), type);
  }

  @Override
  String mark() {
    return "scales";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Tensor words = stored.tensor(module + ".weight", List.of(U32), -1, -1);
    Tensor scales = stored.tensor(module + ".scales", ModuleParts.SCALE_TYPES, words.rows(), -1);
    long k = Math.multiplyExact(scales.cols(), Math.max(1, scheme.groupSize()));
    boolean fits =
        scheme.groupSize() > 0
            && words.rows() > 0
            && k > 0
            && k <= Integer.MAX_VALUE
            && words.cols() == ROWS.shape(1, k, scheme.bits())[1];
    ModuleParts.require(
        fits, stored, config, scheme, module + ".weight", words + " with scales " + scales);
    return new Header(words.rows(), k, scheme, scales.type());
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    int bits = h.scheme().bits();
    Tensor words = stored.tensor(module + ".weight", List.of(U32), -1, -1);
    var w = QuantizedWeight.allocate(arena, bits, h.n(), h.k(), h.scheme().groupSize(), null);
    Tensor ints = Tensor.of(DataType.I32, words.segment(), words.shape());
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, ints), ROWS, bits);
    ModuleParts.copyScales(w, groups(arena, ops, stored, module + ".scales", h, w));
    Tensor biases = groups(arena, ops, stored, module + ".biases", h, w);
    return FloatZeros.weight(w, biases, h.scaleType());
  }

  /** A float tensor [N, G] as F32 [G, N]. */
  private static Tensor groups(
      Arena arena, Ops ops, StoredTensors stored, String name, Header h, QuantizedWeight w) {
    Tensor t = stored.tensor(name, List.of(h.scaleType()), w.n(), w.groups());
    return Shuffles.transposed(arena, ModuleParts.floats(arena, ops, stored, name, t));
  }
}
