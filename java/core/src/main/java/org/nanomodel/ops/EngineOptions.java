package org.nanomodel.ops;

import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import org.nanomodel.Activations;
import org.nanomodel.Backend;
import org.nanomodel.Device;

/**
 * How an engine is opened.
 *
 * @param device where it runs
 * @param threads workers on a CPU, the caller included; 0 = all cores this process may use
 * @param tier the kernels to use ({@code reference}, {@code avx2}, {@code avx512} ...), or {@code
 *     auto}
 * @param activations how x meets integer weights
 * @param imageCache a folder where packed weights are kept from load to load; empty = not kept
 */
public record EngineOptions(
    Device device, int threads, String tier, Activations activations, Optional<Path> imageCache) {
  public static final String AUTO = "auto";
  private static final int MAX_THREADS = 1024;

  public EngineOptions {
    if (threads < 0 || threads > MAX_THREADS) {
      throw new IllegalArgumentException(
          "threads = " + threads + ", expected 0 (all cores) to " + MAX_THREADS);
    }
  }

  /** With the activations that the checkpoint asks for, and no cache. */
  public EngineOptions(Device device, int threads, String tier) {
    this(device, threads, tier, Activations.AUTO, Optional.empty());
  }

  /**
   * The system properties {@code nanomodel.device}, {@code nanomodel.threads}, {@code
   * nanomodel.tier}, {@code nanomodel.activations} and {@code nanomodel.image.cache}, else {@code
   * NANOMODEL_DEVICE}, {@code NANOMODEL_THREADS}, {@code NANOMODEL_TIER}, {@code
   * NANOMODEL_ACTIVATIONS} and {@code NANOMODEL_IMAGE_CACHE} of the environment, else the CPU, all
   * cores, the best tier, what the checkpoint asks for, and no cache.
   */
  public static EngineOptions defaults() {
    return new EngineOptions(
        Device.parse(setting("device", "cpu")),
        parseThreads(setting("threads", "0")),
        setting("tier", AUTO),
        Activations.parse(setting("activations", "auto")),
        Optional.of(setting("image.cache", "")).filter(f -> !f.isEmpty()).map(Path::of));
  }

  public EngineOptions withDevice(Device value) {
    return new EngineOptions(value, threads, tier, activations, imageCache);
  }

  public EngineOptions withThreads(int value) {
    return new EngineOptions(device, value, tier, activations, imageCache);
  }

  public EngineOptions withTier(String value) {
    return new EngineOptions(device, threads, value, activations, imageCache);
  }

  public EngineOptions withActivations(Activations value) {
    return new EngineOptions(device, threads, tier, value, imageCache);
  }

  /** Keeps packed weights in {@code folder}, and loads from there what it has. */
  public EngineOptions withImageCache(Path folder) {
    return new EngineOptions(device, threads, tier, activations, Optional.of(folder));
  }

  public EngineOptions withBackend(Backend backend) {
    return switch (backend) {
      case AUTO -> this;
      case CPU -> withDevice(Device.CPU);
      case REFERENCE -> withDevice(Device.CPU).withTier("reference");
      case CUDA -> withDevice(device.kind() == Device.Kind.CUDA ? device : Device.cuda(0));
    };
  }

  private static String setting(String name, String otherwise) {
    String value = System.getProperty("nanomodel." + name);
    if (value == null || value.isBlank()) {
      value = System.getenv("NANOMODEL_" + name.toUpperCase(Locale.ROOT).replace('.', '_'));
    }
    return value == null || value.isBlank() ? otherwise : value.strip();
  }

  private static int parseThreads(String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "nanomodel.threads = '" + text + "', expected a whole number");
    }
  }
}
