package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.Optional;
import org.nanomodel.ops.GptqTriangle;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.Tensor;

/**
 * GPTQ of one module (Frantar et al. 2022), and GPTAQ (Li et al. 2025) where the Gram matrix is
 * {@linkplain Gram#paired paired}: gather a {@link Gram} of its inputs, {@link #factor} it once for
 * all modules that share them, {@link #quantize} each.
 */
public final class Gptq {
  /** The weight of GPTAQ's term, as a rule. */
  public static final double ALPHA = .25;

  private Gptq() {}

  /**
   * What became of a module.
   *
   * @param loss mean squared error of the outputs as GPTQ accounts for it: sum of (w - q)^2 /
   *     U[c,c]^2 / 2 / rows; NaN after a fallback
   * @param damp that of the factor
   * @param fallback why the weights were rounded plainly; empty as a rule
   */
  public record GptqResult(
      QuantizedWeight weight, double loss, double damp, Optional<String> fallback) {}

  /** The factor of a Gram matrix, allocated in {@code arena}; the Gram may be closed after it. */
  public static GptqFactor factor(Arena arena, Ops ops, Gram gram, GptqOptions o) {
    return factor(arena, ops, gram, o, ALPHA);
  }

  /**
   * The same.
   *
   * @param alpha weight of GPTAQ's term; without effect unless the Gram is paired
   */
  public static GptqFactor factor(Arena arena, Ops ops, Gram gram, GptqOptions o, double alpha) {
    var triangle = GptqTriangle.allocate(arena, gram.k(), gram.isPaired());
    var how =
        new GptqTriangle.Damping(
            o.order(),
            gram.rows(),
            o.groupOf(gram.k()),
            o.dampPercent(),
            o.dampAutoIncrement(),
            alpha);
    var used = ops.gptqFactor(triangle, gram.triangle(), gram.cross(), how);
    return new GptqFactor(triangle, used, o, gram.rows());
  }

  /**
   * Codes of w [N,K] (F32, left as it is). A weight that is not finite, or whose group's scale
   * exceeds the scale type, is a {@link org.nanomodel.NativeException} that names its place.
   */
  public static GptqResult quantize(
      Arena out, Ops ops, Tensor w, GptqFactor factor, GptqOptions o) {
    factor.check(o);
    var weight =
        QuantizedWeight.allocate(
            out, o.bits(), w.rows(), w.cols(), o.groupOf(w.cols()), factor.gIdx(out, o));
    if (factor.fallback().isPresent()) {
      ops.rtn(weight, w, o.symmetry(), o.scaleType());
      return new GptqResult(weight, Double.NaN, factor.damp(), factor.fallback());
    }
    var how =
        new GptqTriangle.Ranges(
            o.symmetry(), o.scaleType(), o.staticGroups(), o.refreshGroups(), (float) o.mse());
    double errors = ops.gptqQuantize(weight, w, factor.triangle(), how);
    return new GptqResult(weight, errors / 2 / factor.rows(), factor.damp(), Optional.empty());
  }
}
