package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_eora;
import static org.nanomodel.ffi.generated.NanoModelH.nm_gptq_factor;
import static org.nanomodel.ffi.generated.NanoModelH.nm_gptq_quantize;
import static org.nanomodel.ffi.generated.NanoModelH.nm_gram;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_eora_args;
import org.nanomodel.ffi.generated.nm_gptq_factor_args;
import org.nanomodel.ffi.generated.nm_gptq_quantize_args;
import org.nanomodel.ffi.generated.nm_gram_args;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The ops of GPTQ, and EoRA's: few and long, so each call makes its own argument structs. */
final class GptqOps {
  private final Engine engine;
  private final Cancel cancel;

  GptqOps(Engine engine, Cancel cancel) {
    this.engine = engine;
    this.cancel = cancel;
  }

  void gram(Tensor gram, Tensor x, Tensor cross, Tensor exact) {
    Checks.f32Matrix("gram", "x", x, x.rows(), x.cols());
    Checks.vector("gram", "gram", gram, DataType.F64, GptqTriangle.triangle(x.cols()));
    if (exact != null || cross != null) {
      Checks.f32Matrix("gram", "exact", exact, x.rows(), x.cols());
      Checks.vector("gram", "cross", cross, DataType.F64, GptqTriangle.square(x.cols()));
    }
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_gram_args.layout(), cancel);
      nm_gram_args.t(a, x.rows());
      nm_gram_args.k(a, x.cols());
      nm_gram_args.x(a, Checks.read("x", x));
      nm_gram_args.x_stride(a, x.rowStride());
      nm_gram_args.gram(a, Checks.written("gram", gram));
      if (exact != null) {
        nm_gram_args.exact(a, Checks.read("exact", exact));
        nm_gram_args.exact_stride(a, exact.rowStride());
        nm_gram_args.cross(a, Checks.written("cross", cross));
      }
      Native.check(nm_gram(h, a));
    } finally {
      NativeOps.done(engine, cancel, gram, x, cross, exact);
    }
  }

  GptqTriangle.Used factor(GptqTriangle out, Tensor gram, Tensor cross, GptqTriangle.Damping how) {
    Checks.vector("gptqFactor", "gram", gram, DataType.F64, GptqTriangle.triangle(out.k()));
    if (cross != null) {
      Checks.vector("gptqFactor", "cross", cross, DataType.F64, GptqTriangle.square(out.k()));
    }
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_gptq_factor_args.layout(), cancel);
      MemorySegment used = call.allocate(ValueLayout.JAVA_DOUBLE, 2);
      nm_gptq_factor_args.order(a, how.order().ordinal());
      nm_gptq_factor_args.rows(a, how.rows());
      nm_gptq_factor_args.k(a, out.k());
      nm_gptq_factor_args.group_size(a, how.groupSize());
      nm_gptq_factor_args.gram(a, Checks.read("gram", gram));
      nm_gptq_factor_args.cross(a, Checks.read("cross", cross));
      nm_gptq_factor_args.damp(a, how.damp());
      nm_gptq_factor_args.damp_increment(a, how.dampIncrement());
      nm_gptq_factor_args.alpha(a, how.alpha());
      nm_gptq_factor_args.factor(a, Checks.written("out.factor", out.factor()));
      nm_gptq_factor_args.cross_factor(a, Checks.written("out.crossFactor", out.crossFactor()));
      nm_gptq_factor_args.pivots(a, Checks.written("out.pivots", out.pivots()));
      nm_gptq_factor_args.perm(a, Checks.written("out.perm", out.perm()));
      nm_gptq_factor_args.used(a, used);
      Native.check(nm_gptq_factor(h, a));
      return new GptqTriangle.Used(
          used.get(ValueLayout.JAVA_DOUBLE, 0), used.get(ValueLayout.JAVA_DOUBLE, 8));
    } finally {
      NativeOps.done(engine, cancel, out, gram, cross, null);
    }
  }

  double quantize(QuantizedWeight out, Tensor w, GptqTriangle factor, GptqTriangle.Ranges how) {
    Checks.f32Matrix("gptqQuantize", "w", w, out.n(), out.k());
    Checks.that(
        factor.k() == out.k(),
        "gptqQuantize",
        "the factor has another K than the weight",
        factor.k());
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_gptq_quantize_args.layout(), cancel);
      MemorySegment loss = call.allocate(ValueLayout.JAVA_DOUBLE);
      nm_gptq_quantize_args.sym(a, how.sym().ordinal());
      nm_gptq_quantize_args.scale_type(a, Checks.code("how.scaleType", how.scaleType()));
      nm_gptq_quantize_args.static_groups(a, how.staticGroups() ? 1 : 0);
      nm_gptq_quantize_args.refresh(a, how.refresh() ? 1 : 0);
      nm_gptq_quantize_args.mse(a, how.mse());
      nm_gptq_quantize_args.w(a, Checks.read("w", w));
      nm_gptq_quantize_args.w_stride(a, w.rowStride());
      nm_gptq_quantize_args.factor(a, Checks.read("factor.factor", factor.factor()));
      nm_gptq_quantize_args.cross_factor(
          a, Checks.read("factor.crossFactor", factor.crossFactor()));
      nm_gptq_quantize_args.pivots(a, Checks.read("factor.pivots", factor.pivots()));
      nm_gptq_quantize_args.perm(a, Checks.read("factor.perm", factor.perm()));
      nm_gptq_quantize_args.out(a, CodeOps.codes(call, "out", out, true));
      nm_gptq_quantize_args.loss(a, loss);
      Native.check(nm_gptq_quantize(h, a));
      return loss.get(ValueLayout.JAVA_DOUBLE, 0);
    } finally {
      NativeOps.done(engine, cancel, out, w, factor, null);
    }
  }

  double eora(Tensor a, Tensor b, Tensor d, Tensor gram) {
    Checks.f32Matrix("eora", "d", d, d.rows(), d.cols());
    Checks.f32Matrix("eora", "a", a, a.rows(), d.cols());
    Checks.f32Matrix("eora", "b", b, d.rows(), a.rows());
    Checks.that(a.isDense() && b.isDense(), "eora", "a and b must be dense", a.rowStride());
    Checks.vector("eora", "gram", gram, DataType.F64, GptqTriangle.triangle(d.cols()));
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment e = NativeOps.args(call, nm_eora_args.layout(), cancel);
      MemorySegment taken = call.allocate(ValueLayout.JAVA_DOUBLE);
      nm_eora_args.n(e, d.rows());
      nm_eora_args.k(e, d.cols());
      nm_eora_args.rank(e, a.rows());
      nm_eora_args.d(e, Checks.read("d", d));
      nm_eora_args.d_stride(e, d.rowStride());
      nm_eora_args.gram(e, Checks.read("gram", gram));
      nm_eora_args.a(e, Checks.written("a", a));
      nm_eora_args.b(e, Checks.written("b", b));
      nm_eora_args.taken(e, taken);
      Native.check(nm_eora(h, e));
      return taken.get(ValueLayout.JAVA_DOUBLE, 0);
    } finally {
      NativeOps.done(engine, cancel, a, b, d, gram);
    }
  }
}
