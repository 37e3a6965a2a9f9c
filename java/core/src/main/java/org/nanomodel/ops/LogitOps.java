package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_kl;
import static org.nanomodel.ffi.generated.NanoModelH.nm_nll;
import static org.nanomodel.ffi.generated.NanoModelH.nm_sample;
import static org.nanomodel.ffi.generated.NanoModelH.nm_softmax;
import static org.nanomodel.ops.Checks.f32;
import static org.nanomodel.ops.Checks.f32Matrix;
import static org.nanomodel.ops.Checks.f32Vector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_kl_args;
import org.nanomodel.ffi.generated.nm_nll_args;
import org.nanomodel.ffi.generated.nm_sample_args;
import org.nanomodel.ffi.generated.nm_softmax_args;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The ops on logits, called as {@link NativeOps} calls its own. */
final class LogitOps {
  private final Engine engine;
  private final Cancel cancel;
  private final MemorySegment softmax;
  private final MemorySegment sample;
  private final MemorySegment nll;
  private final MemorySegment kl;

  LogitOps(Engine engine, Cancel cancel) {
    this.engine = engine;
    this.cancel = cancel;
    Arena arena = Arena.ofAuto();
    softmax = NativeOps.args(arena, nm_softmax_args.layout(), cancel);
    sample = NativeOps.args(arena, nm_sample_args.layout(), cancel);
    nll = NativeOps.args(arena, nm_nll_args.layout(), cancel);
    kl = NativeOps.args(arena, nm_kl_args.layout(), cancel);
  }

  void softmax(Tensor y, Tensor x, float temperature) {
    f32("softmax", "x", x);
    f32Matrix("softmax", "y", y, x.rows(), x.cols());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = softmax;
      nm_softmax_args.temperature(a, temperature);
      nm_softmax_args.rows(a, x.rows());
      nm_softmax_args.cols(a, x.cols());
      nm_softmax_args.x(a, Checks.read("x", x));
      nm_softmax_args.x_stride(a, x.rowStride());
      nm_softmax_args.y(a, Checks.written("y", y));
      nm_softmax_args.y_stride(a, y.rowStride());
      Native.check(nm_softmax(h, a));
    } finally {
      NativeOps.done(engine, cancel, y, x, null, null);
    }
  }

  void sample(Tensor ids, Tensor logits, Sampling how, Tensor uniform, Tensor logprobs) {
    f32("sample", "logits", logits);
    Checks.vector("sample", "ids", ids, DataType.I32, logits.rows());
    if (uniform != null) {
      f32Vector("sample", "uniform", uniform, logits.rows());
    }
    if (logprobs != null) {
      f32Vector("sample", "logprobs", logprobs, logits.rows());
    }
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = sample;
      nm_sample_args.temperature(a, how.temperature());
      nm_sample_args.top_p(a, how.topP());
      nm_sample_args.min_p(a, how.minP());
      nm_sample_args.top_k(a, how.topK());
      nm_sample_args.rows(a, logits.rows());
      nm_sample_args.vocab(a, logits.cols());
      nm_sample_args.logits(a, Checks.read("logits", logits));
      nm_sample_args.logits_stride(a, logits.rowStride());
      nm_sample_args.uniform(a, Checks.read("uniform", uniform));
      nm_sample_args.ids(a, Checks.written("ids", ids));
      nm_sample_args.logprobs(a, Checks.written("logprobs", logprobs));
      Native.check(nm_sample(h, a));
    } finally {
      NativeOps.done(engine, cancel, ids, logits, uniform, logprobs);
    }
  }

  void nll(Tensor nll, Tensor logits, Tensor targets) {
    f32("nll", "logits", logits);
    Checks.vector("nll", "nll", nll, DataType.F64, logits.rows());
    Checks.vector("nll", "targets", targets, DataType.I32, logits.rows());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = this.nll;
      nm_nll_args.rows(a, logits.rows());
      nm_nll_args.vocab(a, logits.cols());
      nm_nll_args.logits(a, Checks.read("logits", logits));
      nm_nll_args.logits_stride(a, logits.rowStride());
      nm_nll_args.targets(a, Checks.read("targets", targets));
      nm_nll_args.nll(a, Checks.written("nll", nll));
      Native.check(nm_nll(h, a));
    } finally {
      NativeOps.done(engine, cancel, nll, logits, targets, null);
    }
  }

  void kl(Tensor kl, Tensor reference, Tensor logits, Tensor topReference, Tensor top) {
    f32("kl", "logits", logits);
    f32Matrix("kl", "reference", reference, logits.rows(), logits.cols());
    Checks.vector("kl", "kl", kl, DataType.F64, logits.rows());
    Checks.vector("kl", "topReference", topReference, DataType.I32, logits.rows());
    Checks.vector("kl", "top", top, DataType.I32, logits.rows());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = this.kl;
      nm_kl_args.rows(a, logits.rows());
      nm_kl_args.vocab(a, logits.cols());
      nm_kl_args.reference(a, Checks.read("reference", reference));
      nm_kl_args.reference_stride(a, reference.rowStride());
      nm_kl_args.logits(a, Checks.read("logits", logits));
      nm_kl_args.logits_stride(a, logits.rowStride());
      nm_kl_args.kl(a, Checks.written("kl", kl));
      nm_kl_args.top_reference(a, Checks.written("topReference", topReference));
      nm_kl_args.top(a, Checks.written("top", top));
      Native.check(nm_kl(h, a));
    } finally {
      NativeOps.done(engine, cancel, reference, logits, topReference, top);
      Reference.reachabilityFence(kl);
    }
  }
}
