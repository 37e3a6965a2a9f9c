package org.nanomodel.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.data.Bundled;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.Report;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code demo}: the bundled model in 16, 8, 4, 3 and 2 bits side by side: how good, how large, how
 * fast, and what it writes. Needs no network.
 */
@Command(
    name = "demo",
    description =
        "Quantizes the bundled model to 8, 4, 3 and 2 bits and compares them: a table, a picture,"
            + " stories.",
    footer = "  nanomodel demo --output my-demo")
final class Demo extends Verb {
  private static final String MODEL = "stories-qwen3";
  private static final int[] BITS = {8, 4, 3, 2};
  private static final int GROUP_SIZE = 128;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description =
          "Where table, picture and quantized models go. Default: build/demo in a clone, else"
              + " nanomodel-demo.")
  private Path output;

  @Option(names = "--web", hidden = true)
  private boolean web;

  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    if (web) {
      throw new UsageException(
          "--web comes with a later version; without it the demo writes a table and a picture");
    }
    Path source =
        Bundled.model(MODEL)
            .orElseThrow(() ->
                new NanoModelException(
                    "The bundled model "
                        + MODEL
                        + " was not found; run in a clone, or name one with NANOMODEL_HOME"));
    Path directory = output != null ? output : defaultOutput();
    Files.createDirectories(directory);
    List<Comparison.Candidate> candidates = new ArrayList<>();
    for (int bits : BITS) {
      QuantizeConfig config = QuantizeConfig.builder().bits(bits).groupSize(GROUP_SIZE).build();
      Path model = directory.resolve(MODEL + "-" + bits + "bit");
      candidates.add(new Comparison.Candidate(bits + " bits", model, config));
    }
    List<Comparison.Measured> variants =
        new Comparison(source, candidates, engine.options(), console())
            .overwrite(true)
            .run(
                "float16",
                TextData.open("stories-eval", DataOptions.ALL),
                PerplexityOptions.rows());
    publish(directory, variants);
  }

  /**
   * The folder of built things in a clone, so that the tree stays clean; elsewhere a folder of its
   * own.
   */
  private static Path defaultOutput() {
    String home = System.getProperty("nanomodel.home");
    Path here = Path.of("").toAbsolutePath();
    boolean clone = home != null && Path.of(home).toAbsolutePath().equals(here);
    return Path.of(clone ? "build/demo" : "nanomodel-demo");
  }

  private void publish(Path directory, List<Comparison.Measured> variants) throws IOException {
    Report report =
        new Report(
            MODEL + ": round to nearest, groups of " + GROUP_SIZE,
            "Perplexity of stories-eval by protocol rows: each story on its own, at most 512"
                + " tokens. Lower is better.",
            variants.stream().map(Comparison.Measured::row).toList());
    String markdown = "# NanoModel demo\n\n" + report.toMarkdown() + stories(variants);
    Path table = directory.resolve("demo.md");
    Path plot = directory.resolve("demo.png");
    String note = "";
    try {
      report.writePng(plot);
      markdown += "\n![Perplexity, divergence and size](demo.png)\n";
    } catch (IOException e) {
      plot = null;
      note = e.getMessage();
    }
    Files.writeString(table, markdown);
    ObjectNode json = json(report, variants, table, plot);
    Files.writeString(
        directory.resolve("demo.json"),
        new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(json) + "\n");
    console().print("");
    console().print("%s", report.toMarkdown() + stories(variants));
    console().print("table    %s", table);
    console().print("picture  %s", plot == null ? "none: " + note : plot);
    console().print("models   %s", directory.resolve(MODEL + "-*bit"));
    console().document(json);
  }

  private static String stories(List<Comparison.Measured> variants) {
    StringBuilder text = new StringBuilder("\n## What they write\n\n");
    text.append("\"").append(Comparison.PROMPT).append("\", the likeliest token each time:\n\n");
    for (Comparison.Measured variant : variants) {
      String line = variant.story().strip().replaceAll("\\s+", " ");
      text.append("* **").append(variant.row().name()).append("**: ");
      text.append(Comparison.PROMPT)
          .append(line.startsWith(",") ? "" : " ")
          .append(line)
          .append(" ...\n");
    }
    return text.toString();
  }

  private static ObjectNode json(
      Report report, List<Comparison.Measured> variants, Path table, Path plot) {
    ObjectNode json = object();
    json.set("rows", report.toJson());
    json.put("protocol", "rows").put("data", "stories-eval");
    json.put("table", table.toString());
    json.put("plot", plot == null ? null : plot.toString());
    ArrayNode stories = json.putArray("stories");
    for (Comparison.Measured variant : variants) {
      ObjectNode story = stories.addObject().put("name", variant.row().name());
      story.put("prompt", Comparison.PROMPT).put("text", variant.story());
    }
    return json;
  }
}
