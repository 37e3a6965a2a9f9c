package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_awq_clip;
import static org.nanomodel.ffi.generated.NanoModelH.nm_awq_round;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_awq_clip_args;
import org.nanomodel.ffi.generated.nm_awq_round_args;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The ops of AWQ's searches: few and long, so each call makes its own argument structs. */
final class AwqOps {
  private final Engine engine;
  private final Cancel cancel;

  AwqOps(Engine engine, Cancel cancel) {
    this.engine = engine;
    this.cancel = cancel;
  }

  void round(Tensor y, Tensor w, Tensor scale, RoundingGrid grid) {
    Checks.f32Matrix("awqRound", "w", w, w.rows(), w.cols());
    Checks.f32Matrix("awqRound", "y", y, w.rows(), w.cols());
    Checks.f32Vector("awqRound", "scale", scale, w.cols());
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_awq_round_args.layout(), cancel);
      nm_awq_round_args.bits(a, grid.bits());
      nm_awq_round_args.sym(a, grid.sym() ? 1 : 0);
      nm_awq_round_args.scale_type(a, grid.scaleType().nativeCode());
      nm_awq_round_args.n(a, w.rows());
      nm_awq_round_args.k(a, w.cols());
      nm_awq_round_args.group_size(a, grid.groupSize());
      nm_awq_round_args.w(a, Checks.read("w", w));
      nm_awq_round_args.w_stride(a, w.rowStride());
      nm_awq_round_args.scale(a, Checks.read("scale", scale));
      nm_awq_round_args.y(a, Checks.written("y", y));
      nm_awq_round_args.y_stride(a, y.rowStride());
      Native.check(nm_awq_round(h, a));
    } finally {
      NativeOps.done(engine, cancel, y, w, scale, null);
    }
  }

  void clip(Tensor w, Tensor gram, Tensor scale, RoundingGrid grid) {
    Checks.f32Matrix("awqClip", "w", w, w.rows(), w.cols());
    Checks.vector("awqClip", "gram", gram, DataType.F64, GptqTriangle.triangle(w.cols()));
    if (scale != null) {
      Checks.f32Vector("awqClip", "scale", scale, w.cols());
    }
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_awq_clip_args.layout(), cancel);
      nm_awq_clip_args.bits(a, grid.bits());
      nm_awq_clip_args.sym(a, grid.sym() ? 1 : 0);
      nm_awq_clip_args.scale_type(a, grid.scaleType().nativeCode());
      nm_awq_clip_args.n(a, w.rows());
      nm_awq_clip_args.k(a, w.cols());
      nm_awq_clip_args.group_size(a, grid.groupSize());
      nm_awq_clip_args.gram(a, Checks.read("gram", gram));
      if (scale != null) {
        nm_awq_clip_args.scale(a, Checks.read("scale", scale));
      }
      nm_awq_clip_args.w(a, Checks.written("w", w));
      nm_awq_clip_args.w_stride(a, w.rowStride());
      Native.check(nm_awq_clip(h, a));
    } finally {
      NativeOps.done(engine, cancel, w, gram, scale, null);
    }
  }
}
