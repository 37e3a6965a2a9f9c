package org.nanomodel.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.Protocol;
import org.nanomodel.evaluate.Report;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code compare}: a model quantized in several ways, side by side in one table. */
@Command(
    name = "compare",
    description =
        "Quantizes a model in several ways and compares the results: perplexity, divergence, size,"
            + " speed, memory, as a table, JSON and a picture.",
    footer =
        "  nanomodel compare --model stories-qwen3 --bits 8,4,3 --group-size 64 --data stories-eval"
            + " --protocol rows")
final class Compare extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = "--methods",
      split = ",",
      defaultValue = "rtn",
      paramLabel = "NAME,...",
      description = "Methods to compare. Default: ${DEFAULT-VALUE}.")
  private List<String> methods;

  @Option(
      names = {"-b", "--bits"},
      defaultValue = "8,4,3,2",
      paramLabel = "N,...",
      description = "Bits of a weight. Default: ${DEFAULT-VALUE}.")
  private String bits;

  @Option(
      names = {"-g", "--group-size"},
      split = ",",
      defaultValue = "128",
      paramLabel = "N,...",
      description = "Weights that share a scale; -1 = a whole row. Default: ${DEFAULT-VALUE}.")
  private List<Long> groupSizes;

  @Option(names = "--asym", description = "With a zero point for each group.")
  private boolean asym;

  @Mixin private DataFlags data;

  @Option(
      names = "--calibration",
      paramLabel = "DATA",
      description =
          "What gptq, awq, qqq and smoothquant run the model on: a file, or a bundled text"
              + " (stories-calib).")
  private String calibration;

  @Option(
      names = "--calibration-samples",
      paramLabel = "N",
      description = "So many documents or rows of it. Default: all.")
  private int calibrationSamples;

  @Option(
      names = "--protocol",
      paramLabel = "NAME",
      defaultValue = "windows",
      description = "Of perplexity and divergence, as in eval. Default: ${DEFAULT-VALUE}.")
  private String protocol;

  @Option(names = "--window", paramLabel = "N", description = "As in eval.")
  private int window;

  @Option(names = "--stride", paramLabel = "N", description = "As in eval.")
  private int stride;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      required = true,
      description =
          "Where models, table and picture go. Models that are finished there are used again.")
  private Path output;

  @Option(names = "--overwrite", description = "Replace models that are there.")
  private boolean overwrite;

  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    if (!data.given()) {
      throw new UsageException("--data is missing: a file, or a bundled text such as stories-eval");
    }
    PerplexityOptions how = new PerplexityOptions(Protocol.of(protocol), window, stride);
    List<QuantizeConfig> configs = configs();
    TextData text = data.open();
    Path source = model.resolve(environment());
    String name = source.toAbsolutePath().normalize().getFileName().toString();
    Files.createDirectories(output);
    List<Comparison.Candidate> candidates =
        configs.stream().map(config -> candidate(name, config)).toList();
    List<Comparison.Measured> measured =
        new Comparison(source, candidates, engine.options(), console())
            .overwrite(overwrite)
            .calibration(calibrationData(configs))
            .run(originalName(source), text, how);
    Report report =
        new Report(
            name,
            "%s by protocol %s%s. KL: mean divergence from the original in nats; same top: equal likeliest token."
                .formatted(shortName(text), protocol, window > 0 ? ", window " + window : ""),
            measured.stream().map(Comparison.Measured::row).toList());
    publish(report, text);
  }

  private TextData calibrationData(List<QuantizeConfig> configs) {
    if (configs.stream().noneMatch(QuantizeConfig::isCalibrated)) {
      return null;
    }
    if (calibration == null) {
      throw new UsageException(
          "--calibration is missing: gptq needs a file of texts or ids, or a bundled text such as"
              + " stories-calib");
    }
    return TextData.open(calibration, DataOptions.ALL.withSamples(calibrationSamples));
  }

  /** Whatever a configuration refuses was typed here: a usage error. */
  private List<QuantizeConfig> configs() {
    List<QuantizeConfig> configs = new ArrayList<>();
    try {
      for (String method : methods) {
        for (long groupSize : groupSizes) {
          for (int width : NumberList.parse("--bits", bits)) {
            configs.add(
                QuantizeConfig.builder()
                    .method(Method.of(method.strip()))
                    .bits(width)
                    .groupSize(groupSize)
                    .sym(!asym)
                    .build());
          }
        }
      }
    } catch (NanoModelException e) {
      throw new UsageException(e.getMessage());
    }
    return configs;
  }

  private Comparison.Candidate candidate(String name, QuantizeConfig config) {
    String group = config.groupSize() < 0 ? "row" : "g" + config.groupSize();
    String folder =
        "%s-%s-%dbit-%s%s"
            .formatted(name, config.method(), config.bits(), group, asym ? "-asym" : "");
    String label =
        "%s %d bits%s"
            .formatted(config.method(), config.bits(), groupSizes.size() > 1 ? " " + group : "");
    return new Comparison.Candidate(label, output.resolve(folder), config);
  }

  private String originalName(Path source) {
    try (var original = AutoNanoModel.load(source, engine.options())) {
      boolean wide = ModelSize.of(original.directory()).bpwModel() > 24;
      return wide ? "float32" : "float16";
    }
  }

  private static String shortName(TextData text) {
    return Path.of(text.name()).getFileName().toString();
  }

  private void publish(Report report, TextData text) throws IOException {
    Path table = output.resolve("compare.md");
    Path plot = output.resolve("compare.png");
    String markdown = report.toMarkdown();
    try {
      report.writePng(plot);
      markdown += "\n![Perplexity, divergence and size](compare.png)\n";
    } catch (IOException e) {
      console().note("no picture: %s", e.getMessage());
      plot = null;
    }
    Files.writeString(table, markdown);
    ObjectNode json = object();
    json.set("rows", report.toJson());
    json.put("model", model.name()).put("data", text.name()).put("protocol", protocol);
    json.put("table", table.toString()).put("plot", plot == null ? null : plot.toString());
    Files.writeString(
        output.resolve("compare.json"),
        new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(json) + "\n");
    console().print("%s", report.toMarkdown());
    console().print("table    %s", table);
    console().print("picture  %s", plot == null ? "none" : plot);
    console().document(json);
  }
}
