package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.util.Optional;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.AdapterWriter;
import org.nanomodel.checkpoint.StoredWeight;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * EoRA (Liu et al. 2024): what quantizing took from a weight is given back by a low-rank adapter B
 * A that makes |X (W - Wq - B A)^T| as small as its rank allows, X the inputs of calibration; see
 * csrc/calibrate/eora.cc.
 */
final class Eora {
  private final QuantizeConfig config;
  private final Ops ops;
  private final PhaseClock clock;

  Eora(QuantizeConfig config, Ops ops, PhaseClock clock) {
    this.config = config;
    this.ops = ops;
    this.clock = clock;
  }

  /** The rank of a module's adapter: as configured, at most that of the weight; 0 = none. */
  static long rank(QuantizeConfig config, QuantizePlan.Module module) {
    return Math.min(config.adapterRank(module.name()), Math.min(module.n(), module.k()));
  }

  /** Columns of a block of the Krylov spaces; 0 = no adapter. */
  private static long width(QuantizeConfig config, QuantizePlan.Module module) {
    long rank = rank(config, module);
    return rank == 0 ? 0 : Math.ceilDiv(rank + 8, 48) * 48;
  }

  /** Memory of one: the error, 11 blocks of N rows, 2 of K, and square matrices of four blocks. */
  static long workBytes(QuantizeConfig config, QuantizePlan.Module m) {
    long w = width(config, m);
    return w == 0 ? 0 : 4 * m.n() * m.k() + 8 * w * (11 * m.n() + 2 * m.k()) + 8 * 3 * 16 * w * w;
  }

  /** Operations: about ten products of a block with D^T, G and D, at half the speed of float32. */
  static double work(QuantizeConfig config, QuantizePlan.Module m) {
    double k = m.k();
    return 2 * 10 * width(config, m) * (4 * m.n() * k + 2 * k * k);
  }

  /**
   * A and B as the files hold them.
   *
   * @param a F16 [R, K]
   * @param b F16 [N, R]
   */
  record Halves(Tensor a, Tensor b) {
    /** w += B A; w: F32 [N, K]. */
    void addTo(Ops ops, Tensor w) {
      try (var scratch = Arena.ofShared()) {
        Tensor at = a.transposed(scratch); // [K, R]
        Tensor floats = Tensor.allocate(scratch, DataType.F32, b.rows(), b.cols());
        ops.convert(floats, b);
        var weight = new FloatWeight(DataType.F16, at.rows(), at.cols(), at.segment());
        try (Linear product = Linear.pack(ops.engine(), "lora_A", weight, null)) {
          ops.linearAdd(w, floats, product);
        }
      }
    }

    /** Puts them among the tensors of a layer. */
    void into(LayerMethod.Sink sink, QuantizePlan.Module module) {
      sink.put(AdapterWriter.a(module.name(), a.rows(), a.cols()), a);
      sink.put(AdapterWriter.b(module.name(), b.rows(), b.cols()), b);
    }
  }

  /** The adapter of a module, if it is to have one. */
  Optional<Halves> of(
      Arena arena, QuantizePlan.Module module, Tensor w, StoredWeight q, Gram gram) {
    if (rank(config, module) == 0) {
      return Optional.empty();
    }
    try (var scratch = Arena.ofShared()) {
      Tensor d = Tensor.allocate(scratch, DataType.F32, module.n(), module.k());
      Copies.rows(d, w);
      Sums.subtract(d, q.floats(scratch, scratch, ops));
      return of(arena, module, d, gram, null);
    }
  }

  /**
   * The same for an error that is known.
   *
   * @param d W - Wq for inputs as {@code gram} saw them, F32 [N, K]
   * @param inputScale what the model's inputs are those divided by, or null
   */
  Optional<Halves> of(
      Arena arena, QuantizePlan.Module module, Tensor d, Gram gram, float[] inputScale) {
    long rank = rank(config, module);
    if (rank == 0 || gram.rows() == 0) {
      return Optional.empty();
    }
    long start = System.nanoTime();
    try (var scratch = Arena.ofShared()) {
      Tensor a = Tensor.allocate(scratch, DataType.F32, rank, module.k());
      Tensor b = Tensor.allocate(scratch, DataType.F32, module.n(), rank);
      ops.eora(a, b, d, gram.triangle());
      if (inputScale != null) {
        Sums.multiplyColumns(a, inputScale);
      }
      return Optional.of(new Halves(half(arena, a), half(arena, b)));
    } finally {
      clock.since(start, PhaseClock.Phase.ADAPTER);
    }
  }

  private Tensor half(Arena arena, Tensor x) {
    Tensor half = Tensor.allocate(arena, DataType.F16, x.rows(), x.cols());
    ops.convert(half, x);
    return half;
  }
}
