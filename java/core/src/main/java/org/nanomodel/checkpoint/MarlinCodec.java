package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.F16;
import static org.nanomodel.tensor.DataType.I32;

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
 * The layout of the Marlin kernel (Frantar et al. 2024): B I32 [K/16, 2N] in tiles of 16 columns by
 * 64 rows, s F16 [G, N] in the order of tiles. 4 bits, symmetric, columns in order.
 */
final class MarlinCodec extends Codec {
  private static final WordLayout LAYOUT = WordLayout.MARLIN;
  private static final int BITS = 4;

  @Override
  public Format format() {
    return Format.MARLIN;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, BITS)
        .or(() -> ModuleParts.refuseZeros(scheme))
        .or(() -> ModuleParts.refuseOrder(scheme));
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return ModuleParts.refuseShape("rows", n, LAYOUT.rowMultiple())
        .or(() -> ModuleParts.refuseShape("columns", k, LAYOUT.columnMultiple()))
        .or(() -> ModuleParts.refuseShortGroup(k, scheme));
  }

  @Override
  public List<String> cautions(long n, long k, ModuleScheme scheme) {
    long group = scheme.groupOf(k);
    return n % 256 == 0 && k % 128 == 0 && (group == k || group == 128)
        ? List.of()
        : List.of(
            "are none that the original Marlin kernel takes: it wants rows in multiples of 256,"
                + " columns of 128, groups of 128 or whole rows");
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    return List.of(
        new TensorSpec(module + ".B", DType.I32, LAYOUT.shape(n, k, BITS)),
        new TensorSpec(module + ".s", DType.F16, scheme.groups(k), n));
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
    Tensor scales = Shuffles.toTiles(arena, ModuleParts.scales(w), w.groups() > 1);
    return List.of(
        ModuleParts.words(arena, ops, ModuleParts.codes(w), LAYOUT, BITS),
        ModuleParts.inRange(arena, ops, module, "scale", scales, scaleType));
  }

  @Override
  String mark() {
    return "B";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme s = ModuleParts.scheme(stored, config, module);
    Tensor b = stored.tensor(module + ".B", List.of(I32), -1, -1);
    return new Header(b.cols() / 2, Math.multiplyExact(b.rows(), 16L), s, F16);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    ModuleScheme scheme = h.scheme();
    Tensor b = stored.tensor(module + ".B", List.of(I32), -1, -1);
    boolean whole = h.n() > 0 && h.k() > 0 && b.cols() % (2 * LAYOUT.rowMultiple()) == 0;
    ModuleParts.require(
        whole
            && scheme.bits() == BITS
            && h.k() % scheme.groupOf(h.k()) == 0
            && h.k() <= Integer.MAX_VALUE,
        stored,
        config,
        scheme,
        module + ".B",
        b);
    var w = QuantizedWeight.allocate(arena, BITS, h.n(), h.k(), scheme.groupOf(h.k()), null);
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, b), LAYOUT, BITS);
    ModuleParts.setSymmetric(w);
    String name = module + ".s";
    Tensor scales = stored.tensor(name, List.of(F16), w.groups(), w.n());
    Tensor f32 = ModuleParts.floats(arena, ops, stored, name, scales);
    ModuleParts.setScales(stored, name, w, Shuffles.fromTiles(arena, f32, f32.rows() > 1));
    return StoredWeight.of(w);
  }
}
