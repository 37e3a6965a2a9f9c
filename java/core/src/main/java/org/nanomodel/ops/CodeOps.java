package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_awq_pack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_awq_unpack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_dequantize;
import static org.nanomodel.ffi.generated.NanoModelH.nm_gptq_pack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_gptq_unpack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_rtn;
import static org.nanomodel.ffi.generated.NanoModelH.nm_words_pack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_words_unpack;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_awq_args;
import org.nanomodel.ffi.generated.nm_codes;
import org.nanomodel.ffi.generated.nm_dequantize_args;
import org.nanomodel.ffi.generated.nm_gptq_args;
import org.nanomodel.ffi.generated.nm_rtn_args;
import org.nanomodel.ffi.generated.nm_words_args;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The ops on integer codes: called once a weight, so each call makes its own argument structs. */
final class CodeOps {
  private final Engine engine;
  private final Cancel cancel;

  CodeOps(Engine engine, Cancel cancel) {
    this.engine = engine;
    this.cancel = cancel;
  }

  /** The {@code nm_codes} of an argument, of which codes, scales and zeros may be written. */
  static MemorySegment codes(Arena call, String name, QuantizedWeight q, boolean written) {
    MemorySegment c = nm_codes.allocate(call);
    nm_codes.struct_size(c, (int) c.byteSize());
    nm_codes.bits(c, q.bits());
    nm_codes.n(c, q.n());
    nm_codes.k(c, q.k());
    nm_codes.group_size(c, q.groupSize());
    nm_codes.codes(c, Checks.memory(name, q.codes(), 1, written));
    nm_codes.scales(c, Checks.memory(name, q.scales(), 4, written));
    nm_codes.zeros(c, Checks.memory(name, q.zeros(), 1, written));
    nm_codes.g_idx(c, Checks.read(name, q.gIdx(), 4));
    return c;
  }

  void rtn(QuantizedWeight out, Tensor w, Symmetry sym, DataType scaleType) {
    Checks.f32Matrix("rtn", "w", w, out.n(), out.k());
    Objects.requireNonNull(sym, "sym");
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_rtn_args.layout(), cancel);
      nm_rtn_args.sym(a, sym.ordinal());
      nm_rtn_args.scale_type(a, Checks.code("scaleType", scaleType));
      nm_rtn_args.w(a, Checks.read("w", w));
      nm_rtn_args.w_stride(a, w.rowStride());
      nm_rtn_args.out(a, codes(call, "out", out, true));
      Native.check(nm_rtn(h, a));
    } finally {
      NativeOps.done(engine, cancel, out, w, null, null);
    }
  }

  void dequantize(Tensor w, QuantizedWeight in) {
    Checks.f32Matrix("dequantize", "w", w, in.n(), in.k());
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_dequantize_args.layout(), cancel);
      nm_dequantize_args.in(a, codes(call, "in", in, false));
      nm_dequantize_args.w(a, Checks.written("w", w));
      nm_dequantize_args.w_stride(a, w.rowStride());
      Native.check(nm_dequantize(h, a));
    } finally {
      NativeOps.done(engine, cancel, in, w, null, null);
    }
  }

  void gptq(QuantizedWeight q, Tensor qweight, Tensor qzeros, GptqLayout layout, boolean pack) {
    String op = pack ? "gptqPack" : "gptqUnpack";
    String name = pack ? "in" : "out";
    Objects.requireNonNull(q, name);
    DataType words = layout.words();
    Checks.matrix(op, "qweight", qweight, words, layout.words(q.k(), q.bits()), q.n());
    Checks.matrix(op, "qzeros", qzeros, words, q.groups(), layout.words(q.n(), q.bits()));
    dense(op, "qweight", qweight);
    dense(op, "qzeros", qzeros);
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_gptq_args.layout(), cancel);
      nm_gptq_args.zero_offset(a, layout.zeroOffset());
      nm_gptq_args.word_bits(a, layout.wordBits());
      nm_gptq_args.planar(a, layout.planar() ? 1 : 0);
      nm_gptq_args.codes(a, codes(call, name, q, !pack));
      nm_gptq_args.qweight(a, Checks.memory("qweight", qweight, pack));
      nm_gptq_args.qzeros(a, Checks.memory("qzeros", qzeros, pack));
      Native.check(pack ? nm_gptq_pack(h, a) : nm_gptq_unpack(h, a));
    } finally {
      NativeOps.done(engine, cancel, q, qweight, qzeros, null);
    }
  }

  void awq(QuantizedWeight q, Tensor qweight, Tensor qzeros, boolean pack) {
    String op = pack ? "awqPack" : "awqUnpack";
    String name = pack ? "in" : "out";
    Objects.requireNonNull(q, name);
    Checks.matrix(op, "qweight", qweight, DataType.I32, q.k(), q.n() / 8);
    Checks.matrix(op, "qzeros", qzeros, DataType.I32, q.groups(), q.n() / 8);
    dense(op, "qweight", qweight);
    dense(op, "qzeros", qzeros);
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_awq_args.layout(), cancel);
      nm_awq_args.codes(a, codes(call, name, q, !pack));
      nm_awq_args.qweight(a, Checks.memory("qweight", qweight, pack));
      nm_awq_args.qzeros(a, Checks.memory("qzeros", qzeros, pack));
      Native.check(pack ? nm_awq_pack(h, a) : nm_awq_unpack(h, a));
    } finally {
      NativeOps.done(engine, cancel, q, qweight, qzeros, null);
    }
  }

  void words(Tensor codes, Tensor words, WordLayout layout, int bits, boolean pack) {
    String op = pack ? "wordsPack" : "wordsUnpack";
    Checks.type(op, "codes", codes, DataType.U8);
    long[] shape = layout.shape(codes.rows(), codes.cols(), bits);
    Checks.matrix(op, "words", words, layout.words(), shape[0], shape[1]);
    dense(op, "codes", codes);
    dense(op, "words", words);
    MemorySegment h = engine.acquire();
    try (var call = Arena.ofConfined()) {
      MemorySegment a = NativeOps.args(call, nm_words_args.layout(), cancel);
      nm_words_args.layout(a, layout.nativeCode());
      nm_words_args.bits(a, bits);
      nm_words_args.n(a, codes.rows());
      nm_words_args.k(a, codes.cols());
      nm_words_args.codes(a, Checks.memory("codes", codes, !pack));
      nm_words_args.words(a, Checks.memory("words", words, pack));
      Native.check(pack ? nm_words_pack(h, a) : nm_words_unpack(h, a));
    } finally {
      NativeOps.done(engine, cancel, codes, words, null, null);
    }
  }

  private static void dense(String op, String name, Tensor t) {
    Checks.that(t.isDense(), op, name + " is a strided view, which is not served", t.rowStride());
  }
}
