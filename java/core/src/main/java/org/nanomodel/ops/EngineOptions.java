package org.nanomodel.ops;

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
 */
public record EngineOptions(Device device, int threads, String tier, Activations activations) {
  public static final String AUTO = "auto";
  private static final int MAX_THREADS = 1024;

  public EngineOptions {
    if (threads < 0 || threads > MAX_THREADS) {
      throw new IllegalArgumentException(
          "threads = " + threads + ", expected 0 (all cores) to " + MAX_THREADS);
    }
  }

  /** With the activations that the checkpoint asks for. */
  public EngineOptions(Device device, int threads, String tier) {
    this(device, threads, tier, Activations.AUTO);
  }

  /**
   * The system properties {@code nanomodel.device}, {@code nanomodel.threads}, {@code
   * nanomodel.tier} and {@code nanomodel.activations}, else {@code NANOMODEL_DEVICE}, {@code
   * NANOMODEL_THREADS}, {@code NANOMODEL_TIER} and {@code NANOMODEL_ACTIVATIONS} of the
   * environment, else the CPU, all cores, the best tier, and what the checkpoint asks for.
   */
  public static EngineOptions defaults() {
    return new EngineOptions(
        Device.parse(setting("device", "cpu")),
        parseThreads(setting("threads", "0")),
        setting("tier", AUTO),
        Activations.parse(setting("activations", "auto")));
  }

  public EngineOptions withDevice(Device value) {
    return new EngineOptions(value, threads, tier, activations);
  }

  public EngineOptions withThreads(int value) {
    return new EngineOptions(device, value, tier, activations);
  }

  public EngineOptions withTier(String value) {
    return new EngineOptions(device, threads, value, activations);
  }

  public EngineOptions withActivations(Activations value) {
    return new EngineOptions(device, threads, tier, value);
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
      value = System.getenv("NANOMODEL_" + name.toUpperCase(java.util.Locale.ROOT));
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
