package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.F16;
import static org.nanomodel.tensor.DataType.F32;
import static org.nanomodel.tensor.DataType.I32;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
 * The layout of QQQ's W4A8 kernel (Zhang et al. 2024): B I32 [K/16, 2N] in tiles, symmetric 4-bit
 * codes of which the kernel makes int8 weights. A scale a row: s_channel F32 [1, N] holds scale /
 * 16, since the kernel puts a nibble into the high half of a byte. Groups of 128: s_group F16
 * [K/128, N] makes int8 of codes, s_channel floats of that.
 */
final class QqqCodec extends Codec {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final int BITS = 4;
  private static final long GROUP = 128;
  private static final float NIBBLE_SHIFT = 16;

  @Override
  public Format format() {
    return Format.QQQ;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return ModuleParts.refuseBits(scheme, BITS)
        .or(() -> ModuleParts.refuseZeros(scheme))
        .or(() -> ModuleParts.refuseOrder(scheme))
        .or(() ->
            scheme.groupSize() < 0 || scheme.groupSize() == GROUP
                ? Optional.empty()
                : Optional.of(
                    "it holds groups of 128 and whole rows (-1), not " + scheme.groupSize()));
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    boolean fits = k % 128 == 0 && n % 64 == 0 || k % 64 == 0 && n % 128 == 0;
    return fits && (scheme.groupSize() < 0 || k % GROUP == 0)
        ? Optional.empty()
        : Optional.of(
            "its kernel takes columns in multiples of 128 with rows of 64, or of 64 with rows of"
                + " 128, and groups that divide the columns");
  }

  @Override
  public DataType scaleType(DataType weight, ModuleScheme scheme) {
    return perChannel(scheme) ? F32 : F16;
  }

  private static boolean perChannel(ModuleScheme scheme) {
    return scheme.groupSize() < 0;
  }

  private static WordLayout layout(boolean perChannel) {
    return perChannel ? WordLayout.QQQ_CHANNEL : WordLayout.QQQ_GROUP;
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    boolean perChannel = perChannel(scheme);
    var words = new TensorSpec(module + ".B", DType.I32, layout(perChannel).shape(n, k, BITS));
    var channel = new TensorSpec(module + ".s_channel", DType.F32, 1, n);
    return perChannel
        ? List.of(words, channel)
        : List.of(words, channel, new TensorSpec(module + ".s_group", DType.F16, k / GROUP, n));
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
    boolean perChannel = perChannel(scheme);
    Tensor words = ModuleParts.words(arena, ops, ModuleParts.codes(w), layout(perChannel), BITS);
    if (perChannel) {
      return List.of(words, Shuffles.toTiles(arena, times(arena, w, 1 / NIBBLE_SHIFT), false));
    }
    StoredWeight two = weight.channelScales() == null ? stored(arena, w, scheme) : weight;
    Tensor channel = two.channelScales().reshape(1, w.n());
    Tensor group = Shuffles.toTiles(arena, ModuleParts.scales(two.codes()), true);
    return List.of(
        words,
        Shuffles.toTiles(arena, channel, false),
        ModuleParts.inRange(arena, ops, module, "group scale", group, F16));
  }

  private static Tensor times(Arena arena, QuantizedWeight w, float factor) {
    Tensor out = Tensor.allocate(arena, F32, w.groups(), w.n());
    for (long i = 0; i < out.count(); i++) {
      out.segment().set(FLOAT, 4 * i, w.scales().get(FLOAT, 4 * i) * factor);
    }
    return out;
  }

  /**
   * In groups, two levels of the scales of one, as upstream QQQ: c = max |W| / 127 over a row of
   * the quantized weight, s_group = s / c. Rounding the products to int8 changes the weight a
   * little.
   */
  @Override
  public StoredWeight stored(Arena arena, QuantizedWeight w, ModuleScheme scheme) {
    if (perChannel(scheme)) {
      return StoredWeight.of(w);
    }
    long n = w.n();
    var codes = QuantizedWeight.allocate(arena, BITS, n, w.k(), w.groupSize(), null, w.codes());
    MemorySegment.copy(w.zeros(), 0, codes.zeros(), 0, w.groups() * n);
    Tensor channel = Tensor.allocate(arena, F32, n);
    for (long r = 0; r < n; r++) {
      float c = largest(w, r) / 127;
      channel.segment().set(FLOAT, 4 * r, c);
      for (long g = 0; g < w.groups(); g++) {
        float s = w.scales().get(FLOAT, 4 * (g * n + r));
        codes.scales().set(FLOAT, 4 * (g * n + r), c == 0 ? 0 : f16(s / c));
      }
    }
    return StoredWeight.ofTwoLevels(codes, channel);
  }

  private static float f16(float x) {
    return Float.float16ToFloat(Float.floatToFloat16(x));
  }

  /** max |s * (q - 8)| of a row. */
  private static float largest(QuantizedWeight w, long row) {
    float largest = 0;
    for (long k = 0; k < w.k(); k++) {
      int q = w.codes().get(ValueLayout.JAVA_BYTE, row * w.k() + k) - 8;
      float s = w.scales().get(FLOAT, 4 * (k / w.groupSize() * w.n() + row));
      largest = Math.max(largest, Math.abs(s * q));
    }
    return largest;
  }

  @Override
  String mark() {
    return "B";
  }

  /** In groups, the canonical form is that of the int8 weights that codes and s_group make. */
  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme stated = ModuleParts.scheme(stored, config, module);
    Tensor b = stored.tensor(module + ".B", List.of(I32), -1, -1);
    var scheme = new ModuleScheme(perChannel(stated) ? BITS : 8, -1, true, false);
    return new Header(b.cols() / 2, Math.multiplyExact(b.rows(), 16L), scheme, F32);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    boolean perChannel = perChannel(scheme);
    Tensor b = stored.tensor(module + ".B", List.of(I32), -1, -1);
    WordLayout layout = layout(perChannel);
    boolean whole = h.n() > 0 && h.k() > 0 && b.cols() % (2 * layout.rowMultiple()) == 0;
    ModuleParts.require(
        whole
            && scheme.bits() == BITS
            && (perChannel || scheme.groupSize() == GROUP && h.k() % GROUP == 0)
            && h.k() <= Integer.MAX_VALUE,
        stored,
        config,
        scheme,
        module + ".B",
        b);
    var w = QuantizedWeight.allocate(arena, BITS, h.n(), h.k(), scheme.groupOf(h.k()), null);
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, b), layout, BITS);
    ModuleParts.setSymmetric(w);
    Tensor channel = part(arena, ops, stored, module + ".s_channel", false, 1, h.n());
    if (perChannel) {
      ModuleParts.setScales(stored, module + ".s_channel", w, channel);
      MemorySegment.copy(times(arena, w, NIBBLE_SHIFT).segment(), 0, w.scales(), 0, 4 * h.n());
      return StoredWeight.of(w);
    }
    String group = module + ".s_group";
    Tensor groups = part(arena, ops, stored, group, true, w.groups(), h.n());
    ModuleParts.setScales(stored, group, w, groups);
    return StoredWeight.ofTwoLevels(w, channel.reshape(h.n()));
  }

  private static Tensor part(
      Arena arena, Ops ops, StoredTensors stored, String name, boolean grouped, long rows, long n) {
    Tensor t = stored.tensor(name, List.of(grouped ? F16 : F32), rows, n);
    return Shuffles.fromTiles(arena, ModuleParts.floats(arena, ops, stored, name, t), grouped);
  }
}
