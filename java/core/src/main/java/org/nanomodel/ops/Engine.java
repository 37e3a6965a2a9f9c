package org.nanomodel.ops;

import static org.nanomodel.ffi.generated.NanoModelH.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.locks.ReentrantLock;
import org.nanomodel.Activations;
import org.nanomodel.Device;
import org.nanomodel.ffi.Native;
import org.nanomodel.ffi.NativeHeap;
import org.nanomodel.ffi.generated.nm_cpu_info;
import org.nanomodel.ffi.generated.nm_engine_info;
import org.nanomodel.ffi.generated.nm_engine_options;

/**
 * One device with its threads and kernels. It runs one call at a time; a second caller waits, and
 * {@link #close} waits for the call in flight. After it, every use is an {@link
 * IllegalStateException}.
 */
public final class Engine implements AutoCloseable {
  private final ReentrantLock lock = new ReentrantLock();
  private final Device device;
  private final int threads;
  private final String tier;
  private final Activations activations;
  private final NativeOps ops;
  private MemorySegment handle;

  private Engine(MemorySegment handle, EngineOptions options, int threads, String tier) {
    this.handle = handle;
    this.device = options.device();
    this.activations = options.activations();
    this.threads = threads;
    this.tier = tier;
    this.ops = new NativeOps(this, null);
  }

  /** Opens with {@link EngineOptions#defaults()}. */
  public static Engine open() {
    return open(EngineOptions.defaults());
  }

  public static Engine open(EngineOptions options) {
    Native.load();
    try (var arena = Arena.ofConfined()) {
      MemorySegment o = nm_engine_options.allocate(arena);
      nm_engine_options.struct_size(o, (int) o.byteSize());
      nm_engine_options.device_kind(o, options.device().kind().ordinal());
      nm_engine_options.device_index(o, options.device().index());
      nm_engine_options.threads(o, options.threads());
      nm_engine_options.tier(o, tierCode(options.tier()));
      nm_engine_options.activations(o, options.activations().ordinal());
      MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
      Native.check(nm_engine_create(o, out));
      MemorySegment handle = out.get(ValueLayout.ADDRESS, 0);

      MemorySegment info = nm_engine_info.allocate(arena);
      nm_engine_info.struct_size(info, (int) info.byteSize());
      Native.check(nm_engine_query(handle, info));
      return new Engine(
          handle, options, nm_engine_info.threads(info), tierName(nm_engine_info.tier(info)));
    }
  }

  public Device device() {
    return device;
  }

  /** Workers, the caller included. */
  public int threads() {
    return threads;
  }

  /**
   * The kernels in use, by the name of their tier: {@code reference}, {@code avx2}, {@code neon}
   * ...
   */
  public String tier() {
    return tier;
  }

  /** How x meets integer weights. */
  public Activations activations() {
    return activations;
  }

  /** The ops of this engine, not to be cancelled. */
  public Ops ops() {
    return ops;
  }

  /** Ops that end with a {@link org.nanomodel.CancelledException} once {@code cancel} is raised. */
  public Ops ops(Cancel cancel) {
    return new NativeOps(this, cancel);
  }

  /**
   * Waits until what was asked of the engine, by any thread, is done: the call in flight, and on a
   * GPU all that is on its way there. Values are there without it: a call on a CPU returns when its
   * result is there, and reading one from a GPU waits for it. It is for clocks and for barriers.
   */
  public void sync() {
    MemorySegment h = acquire();
    try {
      Native.check(nm_engine_sync(h));
    } finally {
      release();
    }
  }

  /** Gives memory of closed arenas, which the C library keeps, back to the system. */
  public static void trimMemory() {
    NativeHeap.trim();
  }

  public boolean isClosed() {
    lock.lock();
    try {
      return handle == null;
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void close() {
    lock.lock();
    try {
      if (handle != null) {
        MemorySegment h = handle;
        handle = null;
        Native.check(nm_engine_destroy(h));
      }
    } finally {
      lock.unlock();
    }
  }

  /** Takes the engine for one native call; the caller must {@link #release} it. */
  MemorySegment acquire() {
    lock.lock();
    if (handle == null) {
      lock.unlock();
      throw new IllegalStateException("the engine is closed");
    }
    return handle;
  }

  void release() {
    lock.unlock();
  }

  /**
   * Runs {@code action} when no call is in flight, whether the engine is open or not: to free what
   * calls may read.
   */
  public void betweenCalls(Runnable action) {
    lock.lock();
    try {
      action.run();
    } finally {
      lock.unlock();
    }
  }

  /** How many devices of a kind can be used; 0 when driver or backend is missing. */
  public static int deviceCount(Device.Kind kind) {
    Native.load();
    try (var arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
      Native.check(nm_device_count(kind.ordinal(), count, MemorySegment.NULL, 0));
      return count.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** What is missing where {@link #deviceCount} is 0; empty where nothing is. */
  public static String whyNoDevice(Device.Kind kind) {
    Native.load();
    try (var arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment why = arena.allocate(512);
      Native.check(nm_device_count(kind.ordinal(), count, why, why.byteSize()));
      return Native.text(why);
    }
  }

  /** What this machine's processor is and which tiers run on it. */
  public static CpuInfo cpu() {
    Native.load();
    try (var arena = Arena.ofConfined()) {
      MemorySegment info = nm_cpu_info.allocate(arena);
      nm_cpu_info.struct_size(info, (int) info.byteSize());
      Native.check(nm_cpu_query(info));
      List<String> tiers = new ArrayList<>();
      for (int t = 0; t < NM_TIER_COUNT(); t++) {
        if ((nm_cpu_info.tiers(info) >>> t & 1) != 0) {
          tiers.add(tierName(t));
        }
      }
      return new CpuInfo(
          Native.text(nm_cpu_info.brand(info)),
          nm_cpu_info.logical_cores(info),
          nm_cpu_info.affinity_cores(info),
          List.of(Native.text(nm_cpu_info.features(info)).strip().split(" +")),
          tierName(nm_cpu_info.best_tier(info)),
          List.copyOf(tiers));
    }
  }

  /**
   * A processor as the library sees it.
   *
   * @param logicalCores that this process may use: the affinity cores, or less where a cgroup (a
   *     container) has a CPU quota
   * @param affinityCores that the system lets it run on
   * @param features instruction sets; "-name" = present, but its registers are not saved by the
   *     operating system
   * @param bestTier what {@code auto} chooses
   * @param tiers what runs here
   */
  public record CpuInfo(
      String brand,
      int logicalCores,
      int affinityCores,
      List<String> features,
      String bestTier,
      List<String> tiers) {}

  /** Why a tier, by its name, does not run here; empty where it does. */
  public static String whyNoTier(String tier) {
    try (var arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(256);
      Native.check(nm_tier_reason(tierCode(tier), buffer, buffer.byteSize()));
      return Native.text(buffer);
    }
  }

  private static int tierCode(String name) {
    String wanted = name.toLowerCase(Locale.ROOT);
    if (wanted.equals(EngineOptions.AUTO)) {
      return NM_TIER_AUTO();
    }
    var known = new ArrayList<String>();
    for (int t = 0; t < NM_TIER_COUNT(); t++) {
      known.add(tierName(t));
      if (known.get(t).equals(wanted) || wanted.equals(Integer.toString(t))) {
        return t;
      }
    }
    throw new IllegalArgumentException(
        "unknown tier '" + name + "': expected auto or one of " + known);
  }

  private static String tierName(int tier) {
    try (var arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(32);
      Native.check(nm_tier_name(tier, buffer, buffer.byteSize()));
      return Native.text(buffer);
    }
  }
}
