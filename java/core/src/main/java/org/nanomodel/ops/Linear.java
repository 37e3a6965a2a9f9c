package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_pack;
import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_pack_size;
import static org.nanomodel.ffi.generated.NanoModelH.nm_linear_query;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.zip.CRC32C;
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
      PackedImage image,
      MemorySegment bias,
      LinearAdapter adapter) {
    this.engine = engine;
    this.arena = arena;
    this.modules = List.copyOf(modules);
    this.image = image.data();
    this.bits = image.bits();
    this.adapter = adapter;
    try (var call = Arena.ofConfined()) {
      MemorySegment info = query(engine, image.data(), call);
      this.n = nm_linear_info.n(info);
      this.k = nm_linear_info.k(info);
      this.kernel = Native.text(nm_linear_info.kernel(info));
    }
    this.bias = bias == null ? null : Tensor.allocate(arena, DataType.F32, n);
    if (bias != null) {
      Checks.atLeast("bias of " + modules, bias, 4 * n);
      MemorySegment.copy(bias, 0, this.bias.segment(), 0, 4 * n);
    }
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
    Arena arena = Arena.ofShared();
    try {
      int bits = weight instanceof QuantizedWeight q ? q.bits() : 0;
      var image = new PackedImage(bits, pack(engine, weight, arena));
      return new Linear(engine, arena, modules, image, bias, adapter);
    } catch (RuntimeException | Error e) {
      arena.close();
      if (adapter != null) {
        adapter.close();
      }
      throw e;
    }
  }

  /**
   * A linear of an image that was packed before, by {@link #packed()}. A damaged one is refused.
   *
   * @param arena of the image, a shared one; closed with the linear, but not where this fails
   * @param bias f32 [N], copied, or null
   * @param adapter owned by the linear unless this fails; or null
   */
  public static Linear of(
      Engine engine,
      Arena arena,
      List<String> modules,
      PackedImage image,
      MemorySegment bias,
      LinearAdapter adapter) {
    return new Linear(engine, arena, modules, image, bias, adapter);
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

  /** A text that is another one where engines pack weights in another way. */
  public static String layout(Engine engine) {
    var crc = new CRC32C();
    long n = 17; // rows and columns that no panel and no line ends with
    long k = 137;
    try (var arena = Arena.ofShared()) {
      for (DataType type : List.of(DataType.F32, DataType.F16, DataType.BF16)) {
        MemorySegment data = mixed(Tensor.allocate(arena, type, n, k).segment());
        crc.update(pack(engine, new FloatWeight(type, n, k, data), arena).asByteBuffer());
      }
      for (int bits : new int[] {4, 8}) {
        var weight = QuantizedWeight.allocate(arena, bits, n, k, 32, null);
        mixed(weight.codes());
        crc.update(pack(engine, weight, arena).asByteBuffer());
      }
    }
    return Long.toHexString(crc.getValue());
  }

  /** Fills memory so that a place is told by its neighbours, with small numbers of every type. */
  private static MemorySegment mixed(MemorySegment memory) {
    for (long i = 0; i < memory.byteSize(); i++) {
      memory.set(ValueLayout.JAVA_BYTE, i, (byte) (i * i % 13));
    }
    return memory;
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
        nm_weight.activations(w, q.activations().ordinal());
        nm_weight.group_size(w, q.groupSize());
        nm_weight.codes(w, Checks.read("codes", q.codes(), 1));
        nm_weight.scales(w, Checks.read("scales", q.scales(), 4));
        nm_weight.zeros(w, Checks.read("zeros", q.zeros(), 1));
        nm_weight.g_idx(w, Checks.read("g_idx", q.gIdx(), 4));
      }
    }
    return w;
  }

  private static MemorySegment query(Engine engine, MemorySegment image, Arena call) {
    MemorySegment info = nm_linear_info.allocate(call);
    nm_linear_info.struct_size(info, (int) info.byteSize());
    MemorySegment handle = engine.acquire();
    try {
      Native.check(nm_linear_query(handle, image, image.byteSize(), info));
    } finally {
      engine.release();
    }
    return info;
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

  /** The kernel that serves it, e.g. {@code linear_i4_i16_avx512}. */
  public String kernel() {
    return kernel;
  }

  /** The packed image: without addresses, for engines of every tier of this library. */
  public PackedImage packed() {
    return new PackedImage(bits, image().asReadOnly());
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
