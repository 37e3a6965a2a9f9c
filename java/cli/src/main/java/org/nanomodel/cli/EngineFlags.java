package org.nanomodel.cli;

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
      description = "Kernels: reference, avx2, avx512. Default: the best that runs here.")
  private String tier;

  @Option(names = "--backend", paramLabel = "NAME", description = "auto, cpu, reference or cuda.")
  private String backend;

  @Option(
      names = "--activations",
      paramLabel = "MODE",
      description = "exact. Others (near-exact, int8) come with kernels that use them.")
  private String activations;

  EngineOptions options() {
    if (activations != null && !activations.equals("exact")) {
      throw new UsageException(
          "--activations " + activations + ": this version computes exact activations only");
    }
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
    return tier == null ? options : options.withTier(tier);
  }
}
