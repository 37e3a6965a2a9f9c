package org.nanomodel.cli;

import java.nio.file.Path;
import org.nanomodel.Activations;
import org.nanomodel.Backend;
import org.nanomodel.Device;
import org.nanomodel.ops.EngineOptions;
import picocli.CommandLine.Option;

/** Where a model runs. */
final class EngineFlags {
  @Option(
      names = "--device",
      paramLabel = "auto|cpu|cuda[:i]",
      description = "Where to run. Default: cpu.")
  private String device;

  @Option(
      names = {"-t", "--threads"},
      paramLabel = "N",
      description = "Workers on the CPU. Default: all cores.")
  private Integer threads;

  @Option(
      names = "--tier",
      paramLabel = "NAME",
      description = "Kernels, as doctor lists them. Default: the best that runs here.")
  private String tier;

  @Option(names = "--backend", paramLabel = "NAME", description = "auto, cpu, reference or cuda.")
  private String backend;

  @Option(
      names = "--activations",
      paramLabel = "MODE",
      description =
          "How inputs meet integer weights: exact (float32), near-exact (16 bits), int8, int4."
              + " Default: auto, as the checkpoint says (int8 in W8A8 and W4A8), else near-exact.")
  private String activations;

  @Option(
      names = "--image-cache",
      paramLabel = "DIR",
      description =
          "Keeps packed weights in DIR, and loads from there what it has. Default: no cache.")
  private Path imageCache;

  EngineOptions options() {
    EngineOptions options = EngineOptions.defaults();
    if (backend != null) {
      options = options.withBackend(Backend.parse(backend));
    }
    if (device != null) {
      options = options.withDevice(Device.parse(device));
    }
    if (threads != null) {
      options = options.withThreads(threads);
    }
    if (activations != null) {
      options = options.withActivations(Activations.parse(activations));
    }
    if (imageCache != null) {
      options = options.withImageCache(imageCache);
    }
    return tier == null ? options : options.withTier(tier);
  }
}
