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
 * AWQ's GEMV layout: qweight I32 [N, K/8], qzeros I32 [N, zw], rows of bit streams along K and
 * along the groups; scales F16 [N, 8 zw], 0 from column G on. zw is ceil(G/8), rounded up to a
 * multiple of 2 for groups of 64 and of 4 for groups of 32.
 */
final class GemvCodec extends Codec {
  private static final WordLayout ROWS = WordLayout.ROWS;
  private static final int BITS = 4;
  private static final int CODES_OF_A_WORD = 8;

  @Override
  public Format format() {
    return Format.GEMV;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, BITS)
        .or(() -> ModuleParts.refuseOrder(scheme))
        .or(() -> refuseGroup(scheme));
  }

  /** What zw is defined for. */
  static Optional<String> refuseGroup(ModuleScheme scheme) {
    long g = scheme.groupSize();
    return g < 0 || g == 32 || g == 64 || g >= 128
        ? Optional.empty()
        : Optional.of("it holds groups of 32, 64, 128 and more, not " + g);
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return ModuleParts.refuseShape("columns", k, CODES_OF_A_WORD)
        .or(() -> ModuleParts.refuseShortGroup(k, scheme));
  }

  /** Words of a row of zeros. */
  static long zeroWords(long k, ModuleScheme scheme) {
    long group = scheme.groupOf(k);
    long multiple = group >= 128 ? 1 : group >= 64 ? 2 : 4;
    long words = Math.ceilDiv(scheme.groups(k), (long) CODES_OF_A_WORD);
    return Math.ceilDiv(words, multiple) * multiple;
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    long zeroWords = zeroWords(k, scheme);
    return List.of(
        new TensorSpec(module + ".qweight", DType.I32, n, k / CODES_OF_A_WORD),
        new TensorSpec(module + ".qzeros", DType.I32, n, zeroWords),
        new TensorSpec(module + ".scales", DType.F16, n, CODES_OF_A_WORD * zeroWords));
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
    long width = CODES_OF_A_WORD * zeroWords(w.k(), scheme);
    Tensor zeros = Shuffles.withRows(arena, ModuleParts.zeros(w), width);
    Tensor scales = Shuffles.withRows(arena, ModuleParts.scales(w), width);
    return List.of(
        ModuleParts.words(arena, ops, ModuleParts.codes(w), ROWS, BITS),
        ModuleParts.words(arena, ops, Shuffles.transposed(arena, zeros), ROWS, BITS),
        ModuleParts.inRange(
            arena, ops, module, "scale", Shuffles.transposed(arena, scales), scaleType));
  }

  @Override
  String mark() {
    return "qweight";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I32), -1, -1);
    return new Header(
        qweight.rows(), Math.multiplyExact(qweight.cols(), (long) CODES_OF_A_WORD), scheme, F16);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    Header h = header(stored, config, module);
    Tensor qweight = stored.tensor(module + ".qweight", List.of(I32), -1, -1);
    boolean whole = h.n() > 0 && h.k() > 0 && scheme.bits() == BITS;
    ModuleParts.require(
        whole && h.k() % scheme.groupOf(h.k()) == 0 && h.k() <= Integer.MAX_VALUE,
        stored,
        config,
        scheme,
        module + ".qweight",
        qweight);
    long zeroWords = zeroWords(h.k(), scheme);
    long width = CODES_OF_A_WORD * zeroWords;
    Tensor qzeros = stored.tensor(module + ".qzeros", List.of(I32), h.n(), zeroWords);
    String scalesName = module + ".scales";
    Tensor scales = stored.tensor(scalesName, ModuleParts.SCALE_TYPES, h.n(), width);
    var w = QuantizedWeight.allocate(arena, BITS, h.n(), h.k(), scheme.groupOf(h.k()), null);
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, qweight), ROWS, BITS);
    Tensor zeros = Tensor.allocate(arena, DataType.U8, h.n(), width);
    ops.wordsUnpack(zeros, StoredTensors.aligned(arena, qzeros), ROWS, BITS);
    ModuleParts.setZeros(w, Shuffles.transposed(arena, zeros));
    Tensor f32 = ModuleParts.floats(arena, ops, stored, scalesName, scales);
    ModuleParts.setScales(
        stored, scalesName, w, Shuffles.transposed(arena, f32).rows(0, w.groups()));
    return StoredWeight.of(w);
  }
}
