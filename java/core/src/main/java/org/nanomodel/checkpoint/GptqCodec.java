package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.I32;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.GptqLayout;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The tensors of a module in the GPTQ layout: qweight I32 [ceil(K*bits/32), N], qzeros I32 [G,
 * ceil(N*bits/32)], scales [G, N], g_idx I32 [K], and back to codes. W[n,k] = scales[g,n] *
 * (codes[n,k] - zeros[g,n]), g = g_idx[k]. Files with narrower words and with bit planes are read
 * too. Packing itself is native; here are names, shapes, and the mistakes of other programs.
 */
public final class GptqCodec extends Codec {
  private final Format format;

  GptqCodec(Format format) {
    this.format = format;
  }

  @Override
  public Format format() {
    return format;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    boolean v1 = format == Format.GPTQ;
    return scheme.sym() || !v1
        ? Optional.empty()
        : Optional.of(
            "asymmetric weights cannot be written in format gptq, which stores each zero minus"
                + " one: a zero of 0 would be misread by other programs; use format gptq_v2");
  }

  @Override
  public List<String> cautions(long n, long k, ModuleScheme scheme) {
    var cautions = new ArrayList<String>();
    if (k % scheme.groupOf(k) != 0) {
      cautions.add(
          "end in a short group, since the group size does not divide their rows: other readers may"
              + " refuse them");
    }
    if (k % 32 != 0 || n % 32 != 0) {
      cautions.add(
          "have rows or columns that are no multiple of 32: most other readers refuse them");
    }
    return cautions;
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    long groups = scheme.groups(k);
    int bits = scheme.bits();
    return List.of(
        new TensorSpec(module + ".qweight", DType.I32, GptqLayout.V2.words(k, bits), n),
        new TensorSpec(module + ".qzeros", DType.I32, groups, GptqLayout.V2.words(n, bits)),
        new TensorSpec(module + ".scales", DType.valueOf(scaleType.name()), groups, n),
        new TensorSpec(module + ".g_idx", DType.I32, k));
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
    GptqLayout layout = format == Format.GPTQ ? GptqLayout.V1 : GptqLayout.V2;
    Tensor qweight = Tensor.allocate(arena, I32, layout.words(w.k(), w.bits()), w.n());
    Tensor qzeros = Tensor.allocate(arena, I32, w.groups(), layout.words(w.n(), w.bits()));
    ops.gptqPack(qweight, qzeros, w, layout);
    return List.of(
        qweight,
        qzeros,
        ModuleParts.packScales(arena, ops, module, w, scaleType),
        ModuleParts.groupsOfColumns(arena, w));
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    GptqLayout layout = layout(config, scheme, module);
    List<DataType> words = List.of(layout.words());
    Tensor qweight = stored.tensor(module + ".qweight", words, -1, -1);
    long n = qweight.cols();
    Tensor scales = ModuleParts.scales(stored, module, -1, n);
    long k = columns(stored, config, module);
    long groups = k < 1 || n < 1 ? 0 : scheme.groups(k);
    if (groups != scales.rows()
        || qweight.rows() != layout.words(k, scheme.bits())
        || groups > Integer.MAX_VALUE) {
      throw ModuleParts.unfit(stored, config, scheme, module, qweight, scales, k);
    }
    Tensor qzeros =
        stored.tensor(module + ".qzeros", words, groups, layout.words(n, scheme.bits()));
    MemorySegment order = ModuleParts.order(arena, stored, module + ".g_idx", k, scheme.groupOf(k));
    var w = QuantizedWeight.allocate(arena, scheme.bits(), n, k, scheme.groupOf(k), order);
    var zeros = ZeroLayout.of(config, scheme, qzeros, n);
    ops.gptqUnpack(
        w,
        StoredTensors.aligned(arena, qweight),
        zeros.corrected(arena, qzeros),
        layout.withZeroOffset(zeros.zeroOffset()));
    ModuleParts.readScales(arena, ops, stored, module, w, scales);
    return StoredWeight.of(w);
  }

  private static GptqLayout layout(QuantizationConfig config, ModuleScheme scheme, String module) {
    GptqLayout layout = config.layout();
    if (layout.wordBits() < 32 && layout.wordBits() % scheme.bits() != 0) {
      throw new UnsupportedModelException(
          config.source()
              + ": module "
              + module
              + " has "
              + scheme.bits()
              + " bits in words of "
              + layout.wordBits()
              + ", which no known program writes; this version reads 2, 4 and 8 bits there");
    }
    return layout;
  }

  @Override
  String mark() {
    return "qweight";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    List<DataType> words = List.of(layout(config, scheme, module).words());
    long n = stored.tensor(module + ".qweight", words, -1, -1).cols();
    DataType scales = ModuleParts.scales(stored, module, -1, n).type();
    return new Header(n, columns(stored, config, module), scheme, scales);
  }

  /**
   * K of a module: the length of g_idx, which this version always writes, else by {@link
   * #rowLength}.
   */
  private static long columns(StoredTensors stored, QuantizationConfig config, String module) {
    if (stored.has(module + ".g_idx")) {
      return stored.tensor(module + ".g_idx", List.of(I32), -1).count();
    }
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    GptqLayout layout = layout(config, scheme, module);
    Tensor qweight = stored.tensor(module + ".qweight", List.of(layout.words()), -1, -1);
    Tensor scales = ModuleParts.scales(stored, module, -1, qweight.cols());
    return rowLength(qweight.rows(), scales.rows(), scheme, layout);
  }

  /** K of a file without g_idx: what the groups fill exactly, else what the words hold. */
  private static long rowLength(long rows, long groups, ModuleScheme scheme, GptqLayout layout) {
    long held = rows * layout.wordBits() / scheme.bits();
    long full = scheme.groupSize() < 0 ? -1 : groups * scheme.groupSize();
    return full > 0 && full <= held && layout.words(full, scheme.bits()) == rows ? full : held;
  }
}
