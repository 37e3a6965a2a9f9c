package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.util.List;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The tensors of a module in AWQ's GEMM layout: qweight I32 [K, N/8], qzeros I32 [G, N/8], scales
 * [G, N]. W[n,k] = scales[g,n] * (codes[n,k] - zeros[g,n]), g = k / group_size; zeros are exact.
 */
final class AwqCodec {
  private static final List<DataType> WORDS = List.of(DataType.I32);
  private static final int CODES_OF_A_WORD = 8;

  private AwqCodec() {}

  /** Reads a module; contradictions are a {@link org.nanomodel.BadModelException}. */
  static QuantizedWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module) {
    ModuleScheme scheme = ModuleParts.scheme(stored, config, module);
    if (scheme.bits() != 4) {
      throw new UnsupportedModelException(
          config.source() + ": module " + module + " has " + scheme.bits() + " bits, awq has 4");
    }
    Tensor qweight = qweight(stored, module);
    long k = qweight.rows();
    long n = rows(stored, module);
    Tensor scales = ModuleParts.scales(stored, module, -1, n);
    boolean whole = n > 0 && k > 0 && k % scheme.groupOf(k) == 0;
    if (!whole || scheme.groups(k) != scales.rows() || k > Integer.MAX_VALUE) {
      throw ModuleParts.unfit(stored, config, scheme, module, qweight, scales, k);
    }
    Tensor qzeros = stored.tensor(module + ".qzeros", WORDS, scales.rows(), qweight.cols());
    long group = scheme.groupOf(k);
    var order = ModuleParts.order(arena, stored, module, k, group);
    var w = QuantizedWeight.allocate(arena, scheme.bits(), n, k, group, order);
    ops.awqUnpack(w, StoredTensors.aligned(arena, qweight), StoredTensors.aligned(arena, qzeros));
    ModuleParts.readScales(arena, ops, stored, module, w, scales);
    return w;
  }

  private static Tensor qweight(StoredTensors stored, String module) {
    return stored.tensor(module + ".qweight", WORDS, -1, -1);
  }

  /** N. */
  static long rows(StoredTensors stored, String module) {
    return Math.multiplyExact(qweight(stored, module).cols(), (long) CODES_OF_A_WORD);
  }

  /** K. */
  static long columns(StoredTensors stored, String module) {
    return qweight(stored, module).rows();
  }
}
