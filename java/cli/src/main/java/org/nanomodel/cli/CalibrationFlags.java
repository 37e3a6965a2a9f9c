package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.GptqConfig;
import org.nanomodel.Method;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.quantize.ActivationScales;
import org.nanomodel.quantize.Calibration;
import org.nanomodel.quantize.CalibrationOptions;
import org.nanomodel.tokenizer.Tokenizer;
import picocli.CommandLine.Option;

/**
 * The data that methods look at, and what they are told beyond the scheme. Round to nearest uses
 * none of it, and says so where it is given.
 */
final class CalibrationFlags {
  @Option(
      names = "--calibration",
      paramLabel = "DATA",
      description =
          "What gptq, awq and smoothquant run the model on: a .txt, .jsonl or .safetensors file, or"
              + " a bundled text (stories-calib).")
  private String calibration;

  @Option(
      names = "--samples",
      paramLabel = "N",
      description = "So many documents or rows of it. Default: all.")
  private Integer samples;

  @Option(
      names = "--seq-len",
      paramLabel = "T",
      description =
          "Rows are cut to so many tokens; a text that is one document is cut into rows of them."
              + " Default: the context, there at most 2048.")
  private Integer seqLen;

  @Option(
      names = "--separator",
      paramLabel = "TEXT",
      description = "Splits a .txt file into documents. Default: the file is one.")
  private String separator;

  @Option(
      names = "--enclose",
      paramLabel = "TEXT",
      description = "Stands before and after each document. Default: what the tokenizer adds.")
  private String enclose;

  @Option(
      names = "--limit-tokens",
      paramLabel = "N",
      description = "So many tokens of it in all. Default: all.")
  private Long limitTokens;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Draws the samples, and shuffles the rows, with this seed.")
  private Long seed;

  @Option(
      names = "--min-length",
      paramLabel = "N",
      description = "Rows of so many tokens or fewer are left out. Default: 10.")
  private Integer minLength;

  @Option(
      names = "--concat-size",
      paramLabel = "N",
      description = "Rows are joined and cut anew into rows of so many tokens.")
  private Integer concatSize;

  @Option(
      names = "--concat-separator",
      paramLabel = "TEXT",
      description = "Stands between rows that are joined.")
  private String concatSeparator;

  @Option(
      names = "--calibration-sort",
      paramLabel = "desc|asc|shuffle|none",
      description = "The order of the rows, by length. Default: desc.")
  private String sort;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      description = "The most rows of a forward pass. Default: as many as fit 1024 tokens.")
  private Integer batchSize;

  @Option(
      names = "--desc-act",
      description = "gptq: columns in order of falling importance, each in a group of its own.")
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
      description = "gptq: share of the mean diagonal that is added to it. Default: 0.05.")
  private Double dampPercent;

  @Option(
      names = "--damp-auto-increment",
      paramLabel = "D",
      description = "gptq: what damp grows by where it does not suffice. Default: 0.01.")
  private Double dampAutoIncrement;

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
          "smoothquant: how much of what makes activations large goes into weights. Default: 0.5.")
  private Double alpha;

  @Option(
      names = "--act-scales",
      paramLabel = "FILE",
      description =
          "smoothquant: activation scales, a safetensors file; they take the place of"
              + " --calibration.")
  private Path actScales;

  @Option(
      names = "--offload-to-disk",
      arity = "0..1",
      paramLabel = "DIR",
      fallbackValue = "",
      description =
          "Keeps hidden states in a file, in DIR or beside the output, instead of in memory.")
  private String offloadToDisk;

  boolean descAct() {
    return descAct;
  }

  GptqConfig gptq() {
    GptqConfig c = GptqConfig.DEFAULT;
    c = actGroupAware == null ? c : c.withActGroupAware(actGroupAware);
    c = staticGroups == null ? c : c.withStaticGroups(staticGroups);
    c = refreshGroups == null ? c : c.withRefreshGroups(refreshGroups);
    c = mse == null ? c : c.withMse(mse);
    c = trueSequential == null ? c : c.withTrueSequential(trueSequential);
    return c.withDamp(
        dampPercent == null ? c.dampPercent() : dampPercent,
        dampAutoIncrement == null ? c.dampAutoIncrement() : dampAutoIncrement);
  }

  double alpha() {
    return alpha == null ? 0.5 : alpha;
  }

  /** The activation scales, if they are given. */
  Optional<ActivationScales> activationScales() {
    return Optional.ofNullable(actScales).map(ActivationScales::read);
  }

  /** Where hidden states go; absent without the flag, empty for the job's own folder. */
  Optional<Optional<Path>> offload() {
    return Optional.ofNullable(offloadToDisk)
        .map(folder -> folder.isEmpty() ? Optional.empty() : Optional.of(Path.of(folder)));
  }

  /** The data, for methods that need it. */
  Optional<Calibration> open(Console console, QuantizeConfig config, ModelDirectory source) {
    Method method = config.method();
    noteUnused(console, config);
    if (!config.isCalibrated() || method == Method.SMOOTHQUANT && actScales != null) {
      return Optional.empty();
    }
    if (calibration == null) {
      throw new UsageException(
          "--calibration is missing: "
              + (method.isCalibrated() ? "method " + method : "an adapter")
              + " needs a file of texts or ids, or a bundled text such as stories-calib");
    }
    var take =
        new DataOptions(
            separator,
            enclose,
            samples == null ? 0 : samples,
            seqLen == null ? 0 : seqLen,
            limitTokens == null ? 0 : limitTokens,
            seed);
    Optional<Tokenizer> tokenizer = Tokenizer.find(source.path());
    try {
      var data = TextData.open(calibration, take);
      var read = Calibration.of(data, tokenizer, source.config(), options());
      read.warnings().forEach(warning -> console.note("warning: %s", warning));
      return Optional.of(read);
    } finally {
      tokenizer.ifPresent(Tokenizer::close);
    }
  }

  private CalibrationOptions options() {
    var options = CalibrationOptions.DEFAULT;
    options = minLength == null ? options : options.withMinLength(minLength);
    if (concatSize != null || concatSeparator != null) {
      options = options.withConcat(concatSize == null ? 0 : concatSize, concatSeparator);
    }
    if (sort != null) {
      options = options.withSort(CalibrationOptions.Sort.of(sort), seed == null ? 0 : seed);
    }
    return batchSize == null ? options : options.withBatchSize(batchSize);
  }

  private void noteUnused(Console console, QuantizeConfig config) {
    Method method = config.method();
    Map<String, Object> flags = new LinkedHashMap<>();
    if (!config.hasAdapter()) {
      flags.put("--calibration", calibration);
      flags.put("--batch-size", batchSize);
      flags.put("--true-sequential", trueSequential);
      flags.put("--offload-to-disk", offloadToDisk);
    }
    flags.put("--act-group-aware", actGroupAware);
    flags.put("--static-groups", staticGroups);
    flags.put("--refresh-groups", refreshGroups);
    flags.put("--mse", mse);
    flags.put("--damp-percent", dampPercent);
    flags.put("--damp-auto-increment", dampAutoIncrement);
    flags.put("--alpha", alpha);
    flags.put("--act-scales", actScales);
    if (method.isCalibrated()) {
      return;
    }
    flags.values().removeIf(java.util.Objects::isNull);
    if (!flags.isEmpty()) {
      console.note("note: method %s does not use %s", method, String.join(", ", flags.keySet()));
    }
  }
}
