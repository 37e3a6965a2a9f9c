package org.nanomodel.checkpoint;

import static org.nanomodel.tensor.DataType.I32;
import static org.nanomodel.tensor.DataType.I64;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
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
 * compressed-tensors' pack-quantized: weight_packed I32 [N, ceil(K*bits/32)], rows of bit streams;
 * weight_scale [N, G]; weight_shape I64 [2]; weight_zero_point I32 [ceil(N*bits/32), G], streams
 * down the columns, where asymmetric; weight_g_idx I32 [K], where columns are ordered.
 */
final class PackQuantizedCodec extends CompressedCodec {
  private static final WordLayout ROWS = WordLayout.ROWS;

  @Override
  public Format format() {
    return Format.COMPRESSED_TENSORS;
  }

  @Override
  public Optional<String> refusal(ModuleScheme scheme) {
    return Optional.empty();
  }

  @Override
  public List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType) {
    int bits = scheme.bits();
    long groups = scheme.groups(k);
    var specs = new ArrayList<TensorSpec>();
    specs.add(new TensorSpec(module + ".weight_packed", DType.I32, ROWS.shape(n, k, bits)));
    specs.add(new TensorSpec(module + ".weight_scale", DType.valueOf(scaleType.name()), n, groups));
    specs.add(new TensorSpec(module + ".weight_shape", DType.I64, 2));
    if (!scheme.sym()) {
      long words = ROWS.shape(1, n, bits)[1];
      specs.add(new TensorSpec(module + ".weight_zero_point", DType.I32, words, groups));
    }
    if (scheme.descAct()) {
      specs.add(new TensorSpec(module + ".weight_g_idx", DType.I32, k));
    }
    return specs;
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
    var parts = new ArrayList<Tensor>();
    parts.add(ModuleParts.words(arena, ops, ModuleParts.codes(w), ROWS, w.bits()));
    parts.add(packScales(arena, ops, module, w, scaleType));
    Tensor shape = Tensor.allocate(arena, I64, 2);
    shape.segment().set(ValueLayout.JAVA_LONG, 0, w.n());
    shape.segment().set(ValueLayout.JAVA_LONG, 8, w.k());
    parts.add(shape);
    if (scheme.sym()) {
      ModuleParts.requireSymmetric(module, w, format());
    } else {
      Tensor rows = ModuleParts.words(arena, ops, ModuleParts.zeros(w), ROWS, w.bits());
      parts.add(Shuffles.transposed(arena, rows));
    }
    if (scheme.descAct()) {
      parts.add(ModuleParts.groupsOfColumns(arena, w));
    }
    return parts;
  }

  @Override
  String mark() {
    return "weight_packed";
  }

  @Override
  Header header(StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    String name = module + ".weight_shape";
    Tensor shape = stored.tensor(name, List.of(I64, I32), 2);
    long n = element(shape, 0);
    long k = element(shape, 1);
    Tensor words = stored.tensor(module + ".weight_packed", List.of(I32), -1, -1);
    boolean fits =
        n > 0
            && k > 0
            && k <= Integer.MAX_VALUE
            && n == words.rows()
            && words.cols() == ROWS.shape(1, k, scheme.bits())[1]
            && k % scheme.groupOf(k) == 0;
    ModuleParts.require(
        fits, stored, config, scheme, module + ".weight_packed", words + " of " + n + " x " + k);
    return new Header(n, k, scheme, stored.type(module + ".weight_scale"));
  }

  private static long element(Tensor shape, long i) {
    MemorySegment s = shape.segment();
    return shape.type() == I64
        ? s.get(ValueLayout.JAVA_LONG_UNALIGNED, 8 * i)
        : s.get(ValueLayout.JAVA_INT_UNALIGNED, 4 * i);
  }

  @Override
  StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    Header h = header(stored, config, module);
    int bits = h.scheme().bits();
    long group = h.scheme().groupOf(h.k());
    Tensor words = stored.tensor(module + ".weight_packed", List.of(I32), -1, -1);
    var order = ModuleParts.order(arena, stored, module + ".weight_g_idx", h.k(), group);
    var w = QuantizedWeight.allocate(arena, bits, h.n(), h.k(), group, order);
    ops.wordsUnpack(ModuleParts.codes(w), StoredTensors.aligned(arena, words), ROWS, bits);
    readScales(arena, ops, stored, module, w);
    readZeros(arena, ops, stored, module, h.scheme(), w);
    return StoredWeight.of(w);
  }
}
