package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.Symmetry;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Round to nearest, group by group: s = 2 max|w| / (2^b - 1) and z = 2^(b-1), or with zero points s
 * = (max - min) / (2^b - 1) and z = round(-min / s); q = round(w / s) + z, clamped. Scales are
 * rounded to the type in which the checkpoint holds them before the codes are taken. No
 * calibration; the yardstick of every other method.
 */
public final class Rtn {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private Rtn() {}

  /** Codes, scales and zeros of W[N,K] (F32). */
  public static QuantizedWeight quantize(
      Arena arena, Ops ops, Tensor w, ModuleScheme scheme, DataType scaleType) {
    var out =
        QuantizedWeight.allocate(
            arena, scheme.bits(), w.rows(), w.cols(), scheme.groupOf(w.cols()), null);
    ops.rtn(out, w, Symmetry.of(scheme.sym()), scaleType);
    return out;
  }

  /** |W - Wq| / |W| in the Frobenius norm; 0 for a weight of zeros that stayed zeros. */
  public static double relativeError(Ops ops, Tensor w, QuantizedWeight quantized) {
    try (var arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DataType.F32, w.rows(), w.cols());
      ops.dequantize(q, quantized);
      MemorySegment a = w.segment();
      MemorySegment b = q.segment();
      double error = 0;
      double norm = 0;
      for (long i = 0; i < 4 * w.count(); i += 4) {
        double x = a.get(FLOAT, i);
        double d = x - b.get(FLOAT, i);
        error += d * d;
        norm += x * x;
      }
      return error == 0 ? 0 : Math.sqrt(error / norm);
    }
  }
}
