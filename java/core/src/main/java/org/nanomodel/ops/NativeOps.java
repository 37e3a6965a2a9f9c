package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.*;
import static org.nanomodel.ops.Checks.code;
import static org.nanomodel.ops.Checks.f32;
import static org.nanomodel.ops.Checks.f32Matrix;
import static org.nanomodel.ops.Checks.f32Vector;
import static org.nanomodel.ops.Checks.read;
import static org.nanomodel.ops.Checks.that;
import static org.nanomodel.ops.Checks.written;

import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Objects;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_activation_args;
import org.nanomodel.ffi.generated.nm_attention_args;
import org.nanomodel.ffi.generated.nm_convert_args;
import org.nanomodel.ffi.generated.nm_embedding_args;
import org.nanomodel.ffi.generated.nm_kv_append_args;
import org.nanomodel.ffi.generated.nm_linear_args;
import org.nanomodel.ffi.generated.nm_norm_args;
import org.nanomodel.ffi.generated.nm_rope_args;
import org.nanomodel.ffi.generated.nm_rope_table_args;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The ops by libnanomodel. Each op has one argument struct, allocated here once and refilled under
 * the engine's lock, so that a call allocates nothing; whatever a struct points to is kept
 * reachable until the call has returned.
 */
final class NativeOps implements Ops {
  private final Engine engine;
  private final Cancel cancel;
  private final LogitOps logits;
  private final CodeOps codes;
  private final GptqOps gptq;
  private final AwqOps awq;
  private Tensor room = Tensor.allocate(Arena.ofAuto(), DataType.F32, 1); // of adapters

  private final MemorySegment convert;
  private final MemorySegment linear;
  private final MemorySegment embedding;
  private final MemorySegment norm;
  private final MemorySegment ropeTable;
  private final MemorySegment rope;
  private final MemorySegment kvAppend;
  private final MemorySegment attention;
  private final MemorySegment activation;

  /** {@code cancel} may be null. */
  NativeOps(Engine engine, Cancel cancel) {
    this.engine = engine;
    this.cancel = cancel;
    this.logits = new LogitOps(engine, cancel);
    this.codes = new CodeOps(engine, cancel);
    this.gptq = new GptqOps(engine, cancel);
    this.awq = new AwqOps(engine, cancel);
    Arena arena = Arena.ofAuto();
    convert = args(arena, nm_convert_args.layout(), cancel);
    linear = args(arena, nm_linear_args.layout(), cancel);
    embedding = args(arena, nm_embedding_args.layout(), cancel);
    norm = args(arena, nm_norm_args.layout(), cancel);
    ropeTable = args(arena, nm_rope_table_args.layout(), cancel);
    rope = args(arena, nm_rope_args.layout(), cancel);
    kvAppend = args(arena, nm_kv_append_args.layout(), cancel);
    attention = args(arena, nm_attention_args.layout(), cancel);
    activation = args(arena, nm_activation_args.layout(), cancel);
  }

  /** A zeroed struct with its size and its cancel flag in place. */
  static MemorySegment args(SegmentAllocator arena, GroupLayout layout, Cancel cancel) {
    MemorySegment a = arena.allocate(layout);
    a.set(ValueLayout.JAVA_INT, 0, (int) layout.byteSize());
    if (cancel != null) {
      var field = GroupLayout.PathElement.groupElement("cancel");
      a.set(ValueLayout.ADDRESS, layout.byteOffset(field), cancel.pointer());
    }
    return a;
  }

  /** Ends a call: what it read or wrote had to stay reachable until here. */
  private void done(Object a, Object b, Object c, Object d) {
    done(engine, cancel, a, b, c, d);
  }

  static void done(Engine engine, Cancel cancel, Object a, Object b, Object c, Object d) {
    engine.release();
    Reference.reachabilityFence(a);
    Reference.reachabilityFence(b);
    Reference.reachabilityFence(c);
    Reference.reachabilityFence(d);
    Reference.reachabilityFence(cancel);
  }

  @Override
  public Engine engine() {
    return engine;
  }

  @Override
  public void convert(Tensor y, Tensor x) {
    that(
        y.count() == x.count() && y.isDense() && x.isDense(),
        "convert",
        "x and y differ or are strided",
        x.count());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = convert;
      nm_convert_args.from(a, code("x", x.type()));
      nm_convert_args.to(a, code("y", y.type()));
      nm_convert_args.count(a, x.count());
      nm_convert_args.x(a, read("x", x));
      nm_convert_args.y(a, written("y", y));
      Native.check(nm_convert(h, a));
    } finally {
      done(y, x, null, null);
    }
  }

  @Override
  public void linear(Tensor y, Tensor x, Linear w, Tensor residual) {
    f32Matrix("linear", "x", x, x.rows(), w.k());
    f32Matrix("linear", "y", y, x.rows(), w.n());
    if (residual != null) {
      f32Matrix("linear", "residual", residual, x.rows(), w.n());
    }
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = linear;
      MemorySegment image = w.image();
      nm_linear_args.m(a, x.rows());
      nm_linear_args.image(a, image);
      nm_linear_args.image_bytes(a, image.byteSize());
      nm_linear_args.x(a, read("x", x));
      nm_linear_args.x_stride(a, x.rowStride());
      nm_linear_args.y(a, written("y", y));
      nm_linear_args.y_stride(a, y.rowStride());
      nm_linear_args.bias(a, w.bias());
      nm_linear_args.residual(a, read("residual", residual));
      nm_linear_args.residual_stride(a, residual == null ? 0 : residual.rowStride());
      Native.check(nm_linear(h, a));
      if (w.adapter() != null) { // while the engine is held: its room serves all threads
        w.adapter().add(this, y, x, room(x.rows(), w.adapter().rank()));
      }
    } finally {
      done(y, x, w, residual);
    }
  }

  private Tensor room(long rows, long cols) {
    if (room.count() < rows * cols) {
      room = Tensor.allocate(Arena.ofAuto(), DataType.F32, rows * cols);
    }
    return Tensor.of(DataType.F32, room.segment(), rows, cols);
  }

  @Override
  public void embedding(Tensor y, Tensor table, Tensor ids, Tensor residual) {
    Checks.vector("embedding", "ids", ids, DataType.I32, y.rows());
    f32Matrix("embedding", "y", y, ids.rows(), table.cols());
    if (residual != null) {
      f32Matrix("embedding", "residual", residual, y.rows(), y.cols());
    }
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = embedding;
      nm_embedding_args.type(a, code("table", table.type()));
      nm_embedding_args.t(a, y.rows());
      nm_embedding_args.rows(a, table.rows());
      nm_embedding_args.cols(a, table.cols());
      nm_embedding_args.table(a, read("table", table));
      nm_embedding_args.table_stride(a, table.rowStride());
      nm_embedding_args.ids(a, read("ids", ids));
      nm_embedding_args.y(a, written("y", y));
      nm_embedding_args.y_stride(a, y.rowStride());
      nm_embedding_args.residual(a, read("residual", residual));
      nm_embedding_args.residual_stride(a, residual == null ? 0 : residual.rowStride());
      Native.check(nm_embedding(h, a));
    } finally {
      done(y, table, ids, residual);
    }
  }

  @Override
  public void rmsNorm(Tensor y, Tensor x, int heads, Tensor weight, float eps) {
    Objects.requireNonNull(weight, "weight");
    checkNorm("rmsNorm", y, x, heads, weight);
    MemorySegment h = engine.acquire();
    try {
      Native.check(nm_rms_norm(h, norm(y, x, heads, weight, null, eps)));
    } finally {
      done(y, x, weight, null);
    }
  }

  @Override
  public void layerNorm(Tensor y, Tensor x, Tensor weight, Tensor bias, float eps) {
    checkNorm("layerNorm", y, x, 1, weight);
    if (bias != null) {
      f32Vector("layerNorm", "bias", bias, x.cols());
    }
    MemorySegment h = engine.acquire();
    try {
      Native.check(nm_layer_norm(h, norm(y, x, 1, weight, bias, eps)));
    } finally {
      done(y, x, weight, bias);
    }
  }

  private static void checkNorm(String op, Tensor y, Tensor x, int heads, Tensor weight) {
    f32(op, "x", x);
    f32Matrix(op, "y", y, x.rows(), x.cols());
    that(heads > 0 && x.cols() % heads == 0, op, "heads do not divide the row", heads);
    if (weight != null) {
      f32Vector(op, "weight", weight, x.cols() / heads);
    }
  }

  private MemorySegment norm(Tensor y, Tensor x, int heads, Tensor weight, Tensor bias, float eps) {
    MemorySegment a = norm;
    nm_norm_args.eps(a, eps);
    nm_norm_args.rows(a, x.rows());
    nm_norm_args.groups(a, heads);
    nm_norm_args.cols(a, x.cols() / heads);
    nm_norm_args.x(a, read("x", x));
    nm_norm_args.x_stride(a, x.rowStride());
    nm_norm_args.y(a, written("y", y));
    nm_norm_args.y_stride(a, y.rowStride());
    nm_norm_args.weight(a, read("weight", weight));
    nm_norm_args.bias(a, read("bias", bias));
    return a;
  }

  @Override
  public void ropeTable(RopeTable table, BatchDescriptor batch) {
    that(
        batch.tokens() <= table.cos().rows(),
        "ropeTable",
        "the table holds " + table.cos().rows(),
        batch.tokens());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = ropeTable;
      nm_rope_table_args.scale(a, table.scale());
      nm_rope_table_args.half(a, table.half());
      nm_rope_table_args.batch(a, batch.struct());
      nm_rope_table_args.inv_freq(a, read("table.invFreq", table.invFreq()));
      nm_rope_table_args.cos(a, written("table.cos", table.cos()));
      nm_rope_table_args.sin(a, written("table.sin", table.sin()));
      Native.check(nm_rope_table(h, a));
    } finally {
      done(table, batch, null, null);
    }
  }

  @Override
  public void rope(Tensor x, int heads, RopeTable table) {
    f32("rope", "x", x);
    that(x.rows() <= table.cos().rows(), "rope", "more rows than the table holds", x.rows());
    that(heads > 0 && x.cols() % heads == 0, "rope", "heads do not divide the row", heads);
    that(
        2 * table.half() <= x.cols() / heads,
        "rope",
        "the table is wider than a head",
        table.half());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = rope;
      nm_rope_args.interleaved(a, table.interleaved() ? 1 : 0);
      nm_rope_args.t(a, x.rows());
      nm_rope_args.heads(a, heads);
      nm_rope_args.head_dim(a, x.cols() / heads);
      nm_rope_args.half(a, table.half());
      nm_rope_args.x(a, written("x", x));
      nm_rope_args.x_stride(a, x.rowStride());
      nm_rope_args.cos(a, read("table.cos", table.cos()));
      nm_rope_args.sin(a, read("table.sin", table.sin()));
      Native.check(nm_rope(h, a));
    } finally {
      done(x, table, null, null);
    }
  }

  @Override
  public void kvAppend(KvLayer kv, Tensor key, Tensor value, BatchDescriptor batch) {
    f32Matrix("kvAppend", "key", key, batch.tokens(), kv.kvHeads() * kv.headDim());
    f32Matrix("kvAppend", "value", value, batch.tokens(), kv.kvHeads() * kv.headDim());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = kvAppend;
      nm_kv_append_args.batch(a, batch.struct());
      nm_kv_append_args.cache(a, kv.struct(true));
      nm_kv_append_args.key(a, read("key", key));
      nm_kv_append_args.key_stride(a, key.rowStride());
      nm_kv_append_args.value(a, read("value", value));
      nm_kv_append_args.value_stride(a, value.rowStride());
      Native.check(nm_kv_append(h, a));
    } finally {
      done(kv, key, value, batch);
    }
  }

  @Override
  public void attention(
      Tensor y, Tensor q, KvLayer kv, BatchDescriptor batch, int heads, float scale, int window) {
    f32Matrix("attention", "q", q, batch.tokens(), heads * kv.headDim());
    f32Matrix("attention", "y", y, batch.tokens(), heads * kv.headDim());
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = attention;
      nm_attention_args.scale(a, scale);
      nm_attention_args.heads(a, heads);
      nm_attention_args.window(a, window);
      nm_attention_args.batch(a, batch.struct());
      nm_attention_args.cache(a, kv.struct(false));
      nm_attention_args.q(a, read("q", q));
      nm_attention_args.q_stride(a, q.rowStride());
      nm_attention_args.y(a, written("y", y));
      nm_attention_args.y_stride(a, y.rowStride());
      Native.check(nm_attention(h, a));
    } finally {
      done(y, q, kv, batch);
    }
  }

  @Override
  public void activate(Tensor y, Activation kind, Tensor x) {
    activateMul(y, kind, x, null);
  }

  @Override
  public void activateMul(Tensor y, Activation kind, Tensor x, Tensor up) {
    f32("activate", "x", x);
    f32Matrix("activate", "y", y, x.rows(), x.cols());
    if (up != null) {
      f32Matrix("activate", "up", up, x.rows(), x.cols());
    }
    MemorySegment h = engine.acquire();
    try {
      MemorySegment a = activation;
      nm_activation_args.kind(a, kind.ordinal());
      nm_activation_args.rows(a, x.rows());
      nm_activation_args.cols(a, x.cols());
      nm_activation_args.x(a, read("x", x));
      nm_activation_args.x_stride(a, x.rowStride());
      nm_activation_args.up(a, read("up", up));
      nm_activation_args.up_stride(a, up == null ? 0 : up.rowStride());
      nm_activation_args.y(a, written("y", y));
      nm_activation_args.y_stride(a, y.rowStride());
      Native.check(nm_activate(h, a));
    } finally {
      done(y, x, up, null);
    }
  }

  @Override
  public void softmax(Tensor y, Tensor x, float temperature) {
    logits.softmax(y, x, temperature);
  }

  @Override
  public void sample(Tensor ids, Tensor logits, Sampling how, Tensor uniform, Tensor logprobs) {
    this.logits.sample(ids, logits, how, uniform, logprobs);
  }

  @Override
  public void nll(Tensor nll, Tensor logits, Tensor targets) {
    this.logits.nll(nll, logits, targets);
  }

  @Override
  public void kl(Tensor kl, Tensor reference, Tensor logits, Tensor topReference, Tensor top) {
    this.logits.kl(kl, reference, logits, topReference, top);
  }

  @Override
  public void rtn(QuantizedWeight out, Tensor w, Symmetry sym, DataType scaleType) {
    codes.rtn(out, w, sym, scaleType);
  }

  @Override
  public void dequantize(Tensor w, QuantizedWeight in) {
    codes.dequantize(w, in);
  }

  @Override
  public void gptqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros, GptqLayout layout) {
    codes.gptq(out, qweight, qzeros, layout, false);
  }

  @Override
  public void gptqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in, GptqLayout layout) {
    codes.gptq(in, qweight, qzeros, layout, true);
  }

  @Override
  public void awqUnpack(QuantizedWeight out, Tensor qweight, Tensor qzeros) {
    codes.awq(out, qweight, qzeros, false);
  }

  @Override
  public void awqPack(Tensor qweight, Tensor qzeros, QuantizedWeight in) {
    codes.awq(in, qweight, qzeros, true);
  }

  @Override
  public void wordsUnpack(Tensor codes, Tensor words, WordLayout layout, int bits) {
    this.codes.words(codes, words, layout, bits, false);
  }

  @Override
  public void wordsPack(Tensor words, Tensor codes, WordLayout layout, int bits) {
    this.codes.words(codes, words, layout, bits, true);
  }

  @Override
  public void gram(Tensor gram, Tensor x, Tensor cross, Tensor exact) {
    gptq.gram(gram, x, cross, exact);
  }

  @Override
  public GptqTriangle.Used gptqFactor(
      GptqTriangle out, Tensor gram, Tensor cross, GptqTriangle.Damping how) {
    return gptq.factor(out, gram, cross, how);
  }

  @Override
  public double gptqQuantize(
      QuantizedWeight out, Tensor w, GptqTriangle factor, GptqTriangle.Ranges how) {
    return gptq.quantize(out, w, factor, how);
  }

  @Override
  public void awqRound(Tensor y, Tensor w, Tensor scale, RoundingGrid grid) {
    awq.round(y, w, scale, grid);
  }

  @Override
  public void awqClip(Tensor w, Tensor gram, Tensor scale, RoundingGrid grid) {
    awq.clip(w, gram, scale, grid);
  }

  @Override
  public double eora(Tensor a, Tensor b, Tensor d, Tensor gram) {
    return gptq.eora(a, b, d, gram);
  }
}
