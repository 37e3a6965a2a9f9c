package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.nanomodel.GptqConfig;
import org.nanomodel.Method;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.quantize.ActivationScales;
import org.nanomodel.quantize.QuantizeJob;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * What methods are told beyond the scheme, and the data that they look at. Round to nearest uses
 * none of it, and says so where it is given.
 */
final class MethodFlags {
  @Mixin private CalibrationFlags data;

  @Option(
      names = "--desc-act",
      description =
          "gptq, gptaq, qqq: columns in order of falling importance, but for qqq each in a group of"
              + " its own.")
  private boolean descAct;

  @Option(
      names = "--act-group-aware",
      negatable = true,
      description =
          "gptq: columns by importance within groups, groups by importance. Default: unless"
              + " --desc-act.")
  private Boolean actGroupAware;

  @Option(
      names = "--static-groups",
      negatable = true,
      description = "gptq: scales from the weights as they come.")
  private Boolean staticGroups;

  @Option(
      names = "--refresh-groups",
      negatable = true,
      description =
          "gptq: scales from weights as updated so far, of several ranges the one with the least"
              + " loss. Default: on.")
  private Boolean refreshGroups;

  @Option(
      names = "--mse",
      paramLabel = "P",
      description =
          "gptq: searches the ranges with the least sum of |error|^P, 2.4 as a rule. Default: 0,"
              + " no search.")
  private Double mse;

  @Option(
      names = "--damp-percent",
      paramLabel = "D",
      description =
          "gptq, qqq: share of the mean diagonal that is added to it. Default: 0.05, qqq 0.005.")
  private Double dampPercent;

  @Option(
      names = "--damp-auto-increment",
      paramLabel = "D",
      description =
          "gptq, qqq: what damp grows by where it does not suffice. Default: 0.01, qqq 0.001.")
  private Double dampAutoIncrement;

  @Option(
      names = "--gptaq-alpha",
      paramLabel = "A",
      description =
          "gptaq: weight of what makes up for changes in the layers before, 0 to 1. Default: 0.25.")
  private Double gptaqAlpha;

  @Option(
      names = "--true-sequential",
      negatable = true,
      description =
          "gptq: modules see what the quantized ones before them make, within a layer too."
              + " Default.")
  private Boolean trueSequential;

  @Option(
      names = "--alpha",
      paramLabel = "A",
      description =
          "smoothquant, qqq: how much of what makes activations large goes into weights. Default:"
              + " 0.5.")
  private Double alpha;

  @Option(
      names = "--smooth",
      negatable = true,
      description = "qqq: large activations are scaled down first. Default.")
  private Boolean smooth;

  @Option(
      names = "--act-scales",
      paramLabel = "FILE",
      description =
          "smoothquant, qqq: activation scales, a file that smooth-scales writes; smoothquant then"
              + " needs no --calibration.")
  private Path actScales;

  /** Puts into a config what was given. */
  void apply(QuantizeConfig.Builder config, Method method) {
    config.gptq(gptq(method));
    config.descAct(descAct);
    Optional.ofNullable(smooth).ifPresent(config::smooth);
    Optional.ofNullable(alpha).ifPresent(config::alpha);
  }

  private GptqConfig gptq(Method method) {
    GptqConfig c = GptqConfig.of(method);
    c = actGroupAware == null ? c : c.withActGroupAware(actGroupAware);
    c = staticGroups == null ? c : c.withStaticGroups(staticGroups);
    c = refreshGroups == null ? c : c.withRefreshGroups(refreshGroups);
    c = mse == null ? c : c.withMse(mse);
    c = gptaqAlpha == null ? c : c.withGptaqAlpha(gptaqAlpha);
    c = trueSequential == null ? c : c.withTrueSequential(trueSequential);
    return c.withDamp(
        dampPercent == null ? c.dampPercent() : dampPercent,
        dampAutoIncrement == null ? c.dampAutoIncrement() : dampAutoIncrement);
  }

  /** Gives a job the data and the activation scales that its method needs. */
  void prepare(QuantizeJob job, Console console, QuantizeConfig config, ModelDirectory source) {
    Method method = config.method();
    noteUnused(console, config);
    if (config.isCalibrated() && !(method == Method.SMOOTHQUANT && actScales != null)) {
      String who = method.isCalibrated() ? "method " + method : "an adapter";
      job.calibration(data.open(console, who, source));
    }
    if (actScales != null) {
      job.activationScales(ActivationScales.read(actScales));
    }
    data.offload().ifPresent(folder -> job.offloadToDisk(folder.orElse(null)));
  }

  private void noteUnused(Console console, QuantizeConfig config) {
    Method method = config.method();
    if (method.isCalibrated()) {
      if (gptaqAlpha != null && method != Method.GPTAQ) {
        console.note("note: method %s does not use --gptaq-alpha", method);
      }
      return;
    }
    Map<String, Object> flags = new LinkedHashMap<>();
    flags.put("--act-group-aware", actGroupAware);
    flags.put("--static-groups", staticGroups);
    flags.put("--refresh-groups", refreshGroups);
    flags.put("--mse", mse);
    flags.put("--damp-percent", dampPercent);
    flags.put("--damp-auto-increment", dampAutoIncrement);
    flags.put("--gptaq-alpha", gptaqAlpha);
    flags.put("--true-sequential", config.hasAdapter() ? null : trueSequential);
    flags.put("--alpha", alpha);
    flags.put("--smooth", smooth);
    flags.put("--act-scales", actScales);
    flags.values().removeIf(Objects::isNull);
    List<String> given = new ArrayList<>(config.hasAdapter() ? List.of() : data.given());
    given.addAll(flags.keySet());
    if (!given.isEmpty()) {
      console.note("note: method %s does not use %s", method, String.join(", ", given));
    }
  }
}
