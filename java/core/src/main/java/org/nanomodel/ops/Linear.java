package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_pack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_pack_size;
import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_query;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.generated.nm_linear_info;
import org.nanomodel.ffi.generated.nm_weight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * y[M,N] = x[M,K] W^T + bias, whatever the format of W: the weight repacked once into the layout of
 * the kernel that serves it. It owns that image. {@link #modules()} are the checkpoint's names of
 * the modules that it computes: several, side by side in N, when q/k/v or gate/up were fused.
 */
public final class Linear implements AutoCloseable {
  private final Engine engine;
  private final Arena arena;
  private final List<String> modules;
  private final MemorySegment image;
  private final Tensor bias;
  private final LinearAdapter adapter; // or null
  private final long n;
  private final long k;
  private final int bits;
  private final String kernel;

  private Linear(
      Engine engine,
      Arena arena,
      List<String> modules,
      MemorySegment image,
      Tensor bias,
      LinearAdapter adapter,
      WeightData weight) {
    this.engine = engine;
    this.arena = arena;
    this.modules = List.copyOf(modules);
    this.image = image;
    this.bias = bias;
    this.adapter = adapter;
    this.n = weight.n();
    this.k = weight.k();
    this.bits = weight instanceof QuantizedWeight q ? q.bits() : 0;
    this.kernel = kernelOf(engine, image);
  }

  /**
   * Packs a weight; the data may be freed afterwards.
   *
   * @param bias f32 [N], copied, or null
   */
  public static Linear pack(Engine engine, String name, WeightData weight, MemorySegment bias) {
    return pack(engine, List.of(name), weight, bias);
  }

  /**
   * Packs the fused weight of several modules, in the order in which they lie side by side in N.
   */
  public static Linear pack(
      Engine engine, List<String> modules, WeightData weight, MemorySegment bias) {
    return pack(engine, modules, weight, bias, null);
  }

  /**
   * The same with what is added to the product.
   *
   * @param adapter owned by the linear from now on; closed where packing fails; or null
   */
  public static Linear pack(
      Engine engine,
      List<String> modules,
      WeightData weight,
      MemorySegment bias,
      LinearAdapter adapter) {
    if (bias != null) {
      Checks.atLeast("bias of " + modules, bias, 4 * weight.n());
    }
    Arena arena = Arena.ofShared();
    try {
      MemorySegment image = pack(engine, weight, arena);
      Tensor b = null;
      if (bias != null) {
        b = Tensor.allocate(arena, DataType.F32, weight.n());
        MemorySegment.copy(bias, 0, b.segment(), 0, 4 * weight.n());
      }
      return new Linear(engine, arena, modules, image, b, adapter, weight);
    } catch (RuntimeException | Error e) {
      arena.close();
      if (adapter != null) {
        adapter.close();
      }
      throw e;
    }
  }

  /** The same modules and bias with another weight [N, K], packed by itself, and no adapter. */
  public Linear withWeight(WeightData weight) {
    Checks.that(weight.n() == n && weight.k() == k, name(), "another shape of weight", weight.n());
    return pack(engine, modules, weight, bias == null ? null : bias.segment());
  }

  private static MemorySegment pack(Engine engine, WeightData weight, Arena owner) {
    try (var call = Arena.ofConfined()) {
      MemorySegment w = describe(call, weight);
      MemorySegment bytes = call.allocate(ValueLayout.JAVA_LONG);
      MemorySegment handle = engine.acquire();
      try {
        Native.check(nm_linear_pack_size(handle, w, bytes));
        long size = bytes.get(ValueLayout.JAVA_LONG, 0);
        MemorySegment image = Tensor.allocate(owner, DataType.U8, size).segment();
        Native.check(nm_linear_pack(handle, w, image, size));
        return image;
      } finally {
        engine.release();
        java.lang.ref.Reference.reachabilityFence(weight);
      }
    }
  }

  private static MemorySegment describe(Arena call, WeightData weight) {
    MemorySegment w = nm_weight.allocate(call);
    nm_weight.struct_size(w, (int) w.byteSize());
    nm_weight.n(w, weight.n());
    nm_weight.k(w, weight.k());
    switch (weight) {
      case FloatWeight f -> {
        nm_weight.type(w, f.type().nativeCode());
        nm_weight.data(w, Checks.read("data", f.data(), f.type().bytes()));
      }
      case QuantizedWeight q -> {
        nm_weight.bits(w, q.bits());
        nm_weight.group_size(w, q.groupSize());
        nm_weight.codes(w, Checks.read("codes", q.codes(), 1));
        nm_weight.scales(w, Checks.read("scales", q.scales(), 4));
        nm_weight.zeros(w, Checks.read("zeros", q.zeros(), 1));
        nm_weight.g_idx(w, Checks.read("g_idx", q.gIdx(), 4));
      }
    }
    return w;
  }

  private static String kernelOf(Engine engine, MemorySegment image) {
    try (var call = Arena.ofConfined()) {
      MemorySegment info = nm_linear_info.allocate(call);
      nm_linear_info.struct_size(info, (int) info.byteSize());
      MemorySegment handle = engine.acquire();
      try {
        Native.check(nm_linear_query(handle, image, image.byteSize(), info));
      } finally {
        engine.release();
      }
      return Native.text(nm_linear_info.kernel(info));
    }
  }

  /** The checkpoint's name of the module; names joined by "+" when several were fused. */
  public String name() {
    return String.join("+", modules);
  }

  public List<String> modules() {
    return modules;
  }

  /** Output features. */
  public long n() {
    return n;
  }

  /** Input features. */
  public long k() {
    return k;
  }

  /** Of the checkpoint's weight; 0 = float. */
  public int bits() {
    return bits;
  }

  /** Of the packed image, the bias and the adapter. */
  public long bytes() {
    return image.byteSize()
        + (bias == null ? 0 : bias.segment().byteSize())
        + (adapter == null ? 0 : adapter.bytes());
  }

  /** The kernel that serves it, e.g. {@code linear_i4_avx512}. */
  public String kernel() {
    return kernel;
  }

  MemorySegment image() {
    if (!arena.scope().isAlive()) {
      throw new IllegalStateException("linear " + name() + " is closed");
    }
    return image;
  }

  /** f32 [N], or NULL. */
  MemorySegment bias() {
    return bias == null ? MemorySegment.NULL : bias.segment();
  }

  /** What is added to the product, or null. */
  LinearAdapter adapter() {
    return adapter;
  }

  /** Frees the image once no call reads it. */
  @Override
  public void close() {
    if (adapter != null) {
      adapter.close();
    }
    engine.betweenCalls(() -> {
      if (arena.scope().isAlive()) {
        arena.close();
      }
    });
  }
}
