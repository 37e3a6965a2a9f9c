package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsFile;

/** What verbs print and write, with the bundled model. */
class VerbsTest {
  @TempDir private Path directory;

  private static List<JsonNode> golden() throws IOException {
    List<JsonNode> prompts = new ArrayList<>();
    new ObjectMapper()
        .readTree(Path.of(Nanomodel.model(), "golden.json").toFile())
        .get("prompts")
        .forEach(prompts::add);
    assertThat(prompts).hasSize(5);
    return prompts;
  }

  private static String joined(JsonNode ids) {
    List<String> out = new ArrayList<>();
    ids.forEach(id -> out.add(id.asText()));
    return String.join(",", out);
  }

  @Test
  void activationScalesAreWrittenOnceAndTakenByQuantize() {
    String scales = directory.resolve("scales.safetensors").toString();
    String[] collect = {
      "smooth-scales",
      "-m",
      Nanomodel.model(),
      "--calibration",
      "stories-calib",
      "--samples",
      "4",
      "--seq-len",
      "64",
      "--json",
      "--output",
      scales
    };
    JsonNode json = Nanomodel.run(collect).succeeded().json();
    assertThat(json.get("modules").asInt()).isEqualTo(42);
    assertThat(json.get("tokens").asInt()).isPositive();
    assertThat(Nanomodel.run(collect).code()).isEqualTo(2);
    assertThat(Nanomodel.run(collect).err()).contains("--overwrite");
    String out = directory.resolve("w8a8").toString();
    Nanomodel.run(
            "quantize",
            "-m",
            Nanomodel.model(),
            "--method",
            "smoothquant",
            "--bits",
            "8",
            "-g",
            "-1",
            "--act-scales",
            scales,
            "--json",
            "--output",
            out)
        .succeeded();
    assertThat(directory.resolve("w8a8/config.json")).exists();
  }

  @Test
  void versionAndHelp() {
    assertThat(Nanomodel.run("--version").succeeded().out()).startsWith("nanomodel 0.1.0");
    assertThat(Nanomodel.run("--help").succeeded().out()).contains("Examples:", "doctor");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate",
        "chat",
        "eval",
        "quantize",
        "smooth-scales",
        "convert",
        "inspect",
        "logits",
        "compare",
        "bench",
        "demo",
        "doctor"
      })
  void helpOfEveryVerbHasAnExample(String verb) {
    String help = Nanomodel.run(verb, "--help").succeeded().out();
    assertThat(help).contains("Example:").contains("nanomodel " + verb + " --").contains("--json");
  }

  @Test
  void doctorSaysWhatThereIsAndTestsIt() {
    Nanomodel run = Nanomodel.run("doctor", "--json").succeeded();
    assertThat(run.keys())
        .contains(
            "version",
            "abi",
            "jdk",
            "cpu",
            "tier",
            "tier_reason",
            "tiers",
            "threads",
            "cuda",
            "libraries",
            "self_test");
    JsonNode json = run.json();
    assertThat(json.at("/self_test/passed").asBoolean()).isTrue();
    assertThat(json.at("/cpu/features").isArray()).isTrue();
    assertThat(json.at("/tiers").toString()).contains("reference");
    if (!json.at("/cuda/available").asBoolean()) {
      assertThat(json.at("/cuda/reason").asText()).isNotBlank();
    }
    assertThat(run.err()).isEmpty();
    assertThat(Nanomodel.run("doctor").succeeded().out()).contains("self test  passed");
  }

  @Test
  void flagsHaveTwinsInTheEnvironmentAndWin() {
    Map<String, String> twins = Map.of("NANOMODEL_THREADS", "1", "NANOMODEL_TIER", "reference");
    JsonNode json = Nanomodel.run(twins, "doctor", "--json").succeeded().json();
    assertThat(json.get("threads").asInt()).isEqualTo(1);
    assertThat(json.get("tier").asText()).isEqualTo("reference");
    json = Nanomodel.run(twins, "doctor", "--json", "--threads", "2").succeeded().json();
    assertThat(json.get("threads").asInt()).isEqualTo(2);
    assertThat(Nanomodel.run(Map.of("NANOMODEL_JSON", "true"), "doctor").json().has("tier"))
        .isTrue();
  }

  @Test
  void generateContinuesAsTheReferenceDoes() throws IOException {
    for (JsonNode row : golden()) {
      String prompt = row.get("prompt").asText();
      String text = row.get("greedy_text").asText();
      Nanomodel plain =
          Nanomodel.run("generate", "-m", Nanomodel.model(), "-p", prompt, "-n", "32").succeeded();
      if (!text.contains("<|")) { // there the reference did not stop at the end token
        assertThat(plain.out()).isEqualTo(text + System.lineSeparator());
      }
      Nanomodel ids =
          Nanomodel.run(
                  "generate",
                  "-m",
                  Nanomodel.model(),
                  "--input-ids",
                  joined(row.get("ids")),
                  "-n",
                  "32",
                  "--json")
              .succeeded();
      assertThat(ids.keys())
          .contains(
              "text",
              "input_ids",
              "output_ids",
              "finish_reason",
              "prompt_tokens",
              "completion_tokens",
              "prefill_ms",
              "decode_ms",
              "decode_tps");
      String expected = joined(row.get("greedy"));
      assertThat(expected).startsWith(joined(ids.json().get("output_ids")));
      assertThat(ids.json().get("input_ids")).isEqualTo(row.get("ids"));
    }
  }

  @Test
  void generateStopsAtAStopString() {
    Nanomodel run =
        Nanomodel.run(
                "generate",
                "-m",
                Nanomodel.model(),
                "-p",
                "Once upon a time",
                "--stop",
                "Lily",
                "--json")
            .succeeded();
    assertThat(run.json().get("text").asText()).isEqualTo(", there was a little girl named ");
    assertThat(run.json().get("finish_reason").asText()).isEqualTo("stop");
  }

  @Test
  void generateWithASeedIsRepeatable() {
    String[] args = {
      "generate",
      "-m",
      Nanomodel.model(),
      "-p",
      "One day",
      "-n",
      "24",
      "--temp",
      "0.9",
      "--top-p",
      "0.95",
      "--seed",
      "7",
      "--json"
    };
    JsonNode first = Nanomodel.run(args).succeeded().json().get("output_ids");
    assertThat(Nanomodel.run(args).json().get("output_ids")).isEqualTo(first);
    args[12] = "8";
    assertThat(Nanomodel.run(args).json().get("output_ids")).isNotEqualTo(first);
  }

  @Test
  void generateWithoutTokenizerWorksWithIds() throws IOException {
    Path model = Files.createDirectory(directory.resolve("m"));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(Path.of(Nanomodel.model(), file), model.resolve(file));
    }
    String[] args = {
      "generate", "-m", model.toString(), "--input-ids", "417,433,258,391", "-n", "3"
    };
    assertThat(Nanomodel.run(args).succeeded().out().strip()).isEqualTo("11 392 278");
    args = new String[] {args[0], args[1], args[2], args[3], args[4], args[5], args[6], "--json"};
    assertThat(Nanomodel.run(args).succeeded().json().get("text").isNull()).isTrue();
  }

  @Test
  void logitsAreThoseOfTheReference() throws IOException {
    JsonNode row = golden().getFirst();
    Path file = directory.resolve("l.safetensors");
    Nanomodel.run(
            "logits",
            "-m",
            Nanomodel.model(),
            "--input-ids",
            joined(row.get("ids")),
            "-o",
            file.toString())
        .succeeded();
    try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
      assertThat(tensors.tensor("logits").dtype()).isEqualTo(DType.F32);
      assertThat(tensors.tensor("logits").shape()).containsExactly(4, 2048);
      var floats =
          tensors.segment("logits").asByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
      for (int i = 0; i < 10; i++) {
        float got = floats.get(3 * 2048 + row.at("/top10/ids/" + i).asInt());
        double expected = row.at("/top10/values/" + i).asDouble();
        assertThat((double) got).isCloseTo(expected, within(2e-3));
      }
    }
  }

  @Test
  void logitsRowByRow() throws IOException {
    Path data = Files.writeString(directory.resolve("d.jsonl"), "[1,2,3]\n[4]\n");
    Path file = directory.resolve("l.safetensors");
    Nanomodel run =
        Nanomodel.run(
                "logits",
                "-m",
                Nanomodel.model(),
                "--data",
                data.toString(),
                "-o",
                file.toString(),
                "--json")
            .succeeded();
    assertThat(run.json().at("/tensors/1/name").asText()).isEqualTo("logits.1");
    try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
      assertThat(tensors.tensor("logits.0").shape()).containsExactly(3, 2048);
      assertThat(tensors.tensor("logits.1").shape()).containsExactly(1, 2048);
    }
  }

  @Test
  void evalNamesItsProtocol() {
    Nanomodel run =
        Nanomodel.run(
                "eval",
                "-m",
                "stories-qwen3",
                "--data",
                "stories-eval",
                "--samples",
                "10",
                "--protocol",
                "sliding",
                "--window",
                "128",
                "--stride",
                "64",
                "--json")
            .succeeded();
    JsonNode json = run.json();
    assertThat(json.get("protocol").asText()).isEqualTo("sliding");
    assertThat(json.get("window").asInt()).isEqualTo(128);
    assertThat(json.get("stride").asInt()).isEqualTo(64);
    assertThat(json.get("ppl").asDouble()).isBetween(2.0, 4.0);
    assertThat(json.get("kld_mean").isNull()).isTrue();
    String text =
        Nanomodel.run(
                "eval",
                "-m",
                "stories-qwen3",
                "--data",
                "stories-eval",
                "--samples",
                "5",
                "--protocol",
                "rows")
            .succeeded()
            .out();
    assertThat(text).contains("perplexity", "protocol    rows");
  }

  @Test
  void quantizeInspectConvert() {
    String small = directory.resolve("q").toString();
    String[] quantize = {
      "quantize",
      "-m",
      Nanomodel.model(),
      "-o",
      small,
      "--bits",
      "4",
      "--group-size",
      "64",
      "--asym",
      "--json"
    };
    Nanomodel done = Nanomodel.run(quantize).succeeded();
    assertThat(done.keys())
        .contains(
            "model",
            "output",
            "method",
            "bits",
            "group_size",
            "sym",
            "format",
            "bpw",
            "bytes",
            "seconds",
            "peak_rss_bytes",
            "modules");
    assertThat(done.json().get("format").asText()).isEqualTo("gptq_v2");
    assertThat(done.json().get("modules")).hasSize(42);
    JsonNode again = Nanomodel.run(quantize).succeeded().json();
    assertThat(again.get("already_done").asBoolean()).isTrue();
    quantize[6] = "3";
    assertThat(Nanomodel.run(quantize).code()).isEqualTo(1);

    JsonNode inspect =
        Nanomodel.run("inspect", "-m", small, "--tensors", "--json").succeeded().json();
    assertThat(inspect.get("parameters").asLong()).isEqualTo(5_246_976);
    assertThat(inspect.at("/quantization/bits").asInt()).isEqualTo(4);
    assertThat(inspect.get("tensors").size()).isGreaterThan(42);
    assertThat(Nanomodel.run("inspect", "-m", small).out())
        .contains("4 bits, groups of 64, asymmetric");

    String floats = directory.resolve("f").toString();
    JsonNode convert =
        Nanomodel.run("convert", "-m", small, "--format", "float32", "-o", floats, "--json")
            .succeeded()
            .json();
    assertThat(convert.get("from").asText()).isEqualTo("gptq_v2");
    assertThat(convert.get("lossless").asBoolean()).isTrue();
    String[] generate = {"generate", "-m", small, "-p", "Once upon a time", "-n", "16", "--json"};
    JsonNode quantized = Nanomodel.run(generate).succeeded().json().get("output_ids");
    generate[2] = floats;
    assertThat(Nanomodel.run(generate).succeeded().json().get("output_ids")).isEqualTo(quantized);

    String other = directory.resolve("ct").toString();
    Nanomodel.run("convert", "-m", small, "--format", "compressed-tensors", "-o", other)
        .succeeded();
    assertThat(Nanomodel.run("inspect", "-m", other).out())
        .contains("compressed-tensors pack-quantized, 4 bits, groups of 64, asymmetric");
    generate[2] = other;
    assertThat(Nanomodel.run(generate).succeeded().json().get("output_ids")).isEqualTo(quantized);
    Nanomodel.run("convert", "-m", small, "--format", "marlin", "-o", floats + "2")
        .failed(1, "module model.layers.0", "format marlin", "zero points");
  }

  @Test
  void quantizeWithCalibrationSaysWhatItSeesAndWhatEachModuleLost() {
    Nanomodel run =
        Nanomodel.run(
                "quantize",
                "-m",
                Nanomodel.model(),
                "-o",
                directory.resolve("gptq").toString(),
                "--method",
                "gptq",
                "--group-size",
                "64",
                "--calibration",
                "stories-calib",
                "--samples",
                "12",
                "--offload-to-disk",
                "--dynamic",
                "{\"-:.*k_proj\": {}, \"+:.*down_proj\": {\"damp_percent\": 0.2}}",
                "--json")
            .succeeded();
    assertThat(run.err())
        .contains("dynamic -:.*k_proj: 6 modules: model.layers.0.self_attn.k_proj")
        .contains("only 12 rows")
        .contains("needs about")
        .contains("MB of disk");
    JsonNode modules = run.json().get("modules");
    assertThat(modules).hasSize(36);
    for (JsonNode module : modules) {
      boolean down = module.get("name").asText().endsWith("down_proj");
      assertThat(module.get("damp").asDouble()).isEqualTo(down ? .2 : .05);
      assertThat(module.get("samples").asLong()).isEqualTo(modules.get(0).get("samples").asLong());
      assertThat(module.get("loss").asDouble()).isPositive();
    }
  }

  @Test
  void quantizeDryRunWritesNothing() {
    Path output = directory.resolve("q");
    Nanomodel run =
        Nanomodel.run(
                "quantize",
                "-m",
                Nanomodel.model(),
                "-o",
                output.toString(),
                "--dry-run",
                "--json",
                "--mse",
                "2.4")
            .succeeded();
    assertThat(run.json().get("bytes").asLong()).isBetween(3_000_000L, 4_000_000L);
    assertThat(run.err()).contains("does not use --mse");
    assertThat(output).doesNotExist();
  }
}
