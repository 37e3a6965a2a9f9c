package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.quantize.Calibration;
import org.nanomodel.quantize.CalibrationOptions;
import org.nanomodel.tokenizer.Tokenizer;
import picocli.CommandLine.Option;

/** The data that a model is run on, to see what its activations are like. */
final class CalibrationFlags {
  @Option(
      names = "--calibration",
      paramLabel = "DATA",
      description =
          "What gptq, awq, qqq and smoothquant run the model on: a .txt, .jsonl or .safetensors"
              + " file, or a bundled text (stories-calib).")
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
      names = "--offload-to-disk",
      arity = "0..1",
      paramLabel = "DIR",
      fallbackValue = "",
      description =
          "Keeps hidden states in a file, in DIR or beside the output, instead of in memory.")
  private String offloadToDisk;

  /** Where hidden states go; absent without the flag, empty for the job's own folder. */
  Optional<Optional<Path>> offload() {
    return Optional.ofNullable(offloadToDisk)
        .map(folder -> folder.isEmpty() ? Optional.empty() : Optional.of(Path.of(folder)));
  }

  /**
   * The data.
   *
   * @param who needs it
   */
  Calibration open(Console console, String who, ModelDirectory source) {
    if (calibration == null) {
      throw new UsageException(
          "--calibration is missing: "
              + who
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
      return read;
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

  /** Those that were given, of those that only methods with calibration use. */
  List<String> given() {
    Map<String, Object> flags = new LinkedHashMap<>();
    flags.put("--calibration", calibration);
    flags.put("--batch-size", batchSize);
    flags.put("--offload-to-disk", offloadToDisk);
    flags.values().removeIf(Objects::isNull);
    return List.copyOf(flags.keySet());
  }
}
