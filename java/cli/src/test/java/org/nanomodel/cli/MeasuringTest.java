package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code eval --metric kl}, {@code compare} and {@code bench}, with the bundled model. */
class MeasuringTest {
  @TempDir private Path directory;

  private Nanomodel kl(String... more) {
    return Nanomodel.run(
        Stream.concat(
                Stream.of("eval", "--metric", "kl", "--data", "stories-eval", "--samples", "6"),
                Stream.of(more))
            .toArray(String[]::new));
  }

  @Test
  void klAgainstAModelAndAgainstItsFile() {
    String small = directory.resolve("small").toString();
    Nanomodel.run("quantize", "-m", Nanomodel.model(), "-o", small).succeeded();
    Nanomodel live =
        kl("-m", small, "--reference", Nanomodel.model(), "--protocol", "rows", "--json");
    JsonNode json = live.succeeded().json();
    assertThat(live.keys())
        .contains(
            "metric",
            "protocol",
            "window",
            "stride",
            "tokens",
            "nll_mean",
            "ppl",
            "ppl_stderr",
            "bits_per_byte",
            "kld_mean",
            "kld_median",
            "kld_p99",
            "kld_max",
            "top1_agreement",
            "ppl_reference",
            "seconds",
            "tokens_per_second",
            "ln_ppl_ratio",
            "delta_p_rms");
    assertThat(json.get("metric").asText()).isEqualTo("kl");
    assertThat(json.get("kld_mean").asDouble()).isBetween(0.01, 0.2);
    assertThat(json.get("kld_p99").asDouble())
        .isBetween(json.get("kld_mean").asDouble(), json.get("kld_max").asDouble());
    assertThat(json.get("top1_agreement").asDouble()).isBetween(0.8, 1.0);
    assertThat(json.get("ln_ppl_ratio").asDouble())
        .isCloseTo(
            Math.log(json.get("ppl").asDouble() / json.get("ppl_reference").asDouble()),
            within(1e-9));

    String file = directory.resolve("reference.safetensors").toString();
    kl(
            "-m",
            small,
            "--reference",
            Nanomodel.model(),
            "--reference-logits",
            file,
            "--protocol",
            "rows")
        .succeeded();
    JsonNode stored =
        kl("-m", small, "--reference-logits", file, "--protocol", "rows", "--json")
            .succeeded()
            .json();
    assertThat(stored.get("kld_mean").asDouble())
        .isCloseTo(json.get("kld_mean").asDouble(), within(2e-5));
    assertThat(stored.get("top1_agreement")).isEqualTo(json.get("top1_agreement"));
    kl("-m", small, "--reference-logits", file).failed(1, "other tokens");
    kl("-m", small, "--reference", small, "--reference-logits", file, "--protocol", "rows")
        .failed(1, "another model");
    String text =
        kl("-m", small, "--reference-logits", file, "--protocol", "rows").succeeded().out();
    assertThat(text).contains("divergence", "same top", "ln ratio");
  }

  @Test
  void compareMeasuresAllAndUsesFinishedModelsAgain() throws Exception {
    String[] command = {
      "compare",
      "-m",
      Nanomodel.model(),
      "--bits",
      "8,3",
      "--group-size",
      "64",
      "--data",
      "stories-eval",
      "--samples",
      "20",
      "--protocol",
      "rows",
      "-o",
      directory.toString(),
      "--json"
    };
    Nanomodel run = Nanomodel.run(command).succeeded();
    assertThat(run.keys()).contains("rows", "table", "plot");
    JsonNode rows = run.json().get("rows");
    assertThat(rows).hasSize(3);
    assertThat(rows.get(0).get("name").asText()).isEqualTo("float16");
    assertThat(rows.get(0).get("kld_mean").asDouble()).isZero();
    assertThat(rows.get(2).get("bits").asInt()).isEqualTo(3);
    assertThat(rows.get(2).get("kld_mean").asDouble())
        .isGreaterThan(10 * rows.get(1).get("kld_mean").asDouble());
    for (JsonNode row : rows) {
      assertThat(row.get("prefill_tps").asDouble()).isPositive();
      assertThat(row.get("decode_tps").asDouble()).isPositive();
    }
    assertThat(Files.readString(directory.resolve("compare.md"))).contains("rtn 3 bits", "KL");
    assertThat(new ObjectMapper().readTree(directory.resolve("compare.json").toFile()).get("rows"))
        .hasSize(3);
    assertThat(run.err()).contains("quantizing", "left");
    Path weights = directory.resolve("stories-qwen3-rtn-3bit-g64/model.safetensors");
    FileTime made = Files.getLastModifiedTime(weights);
    Nanomodel again = Nanomodel.run(command).succeeded();
    assertThat(again.err()).contains("is there already");
    assertThat(Files.getLastModifiedTime(weights)).isEqualTo(made);
    assertThat(again.json().get("rows").get(2).get("ppl")).isEqualTo(rows.get(2).get("ppl"));
  }

  private static Nanomodel bench(String... more) {
    return Nanomodel.run(
        Stream.concat(Stream.of("bench", "-m", Nanomodel.model(), "-r", "2"), Stream.of(more))
            .toArray(String[]::new));
  }

  @Test
  void benchRunsEveryCombination() {
    Nanomodel run =
        bench("-p", "8,16", "-n", "4", "-d", "0,32", "-t", "1-2", "--tier", "reference", "--json");
    JsonNode rows = run.succeeded().json();
    List<String> tests = new ArrayList<>();
    rows.forEach(row -> tests.add(row.get("test").asText() + "/" + row.get("threads").asInt()));
    assertThat(tests)
        .containsExactly(
            "pp8/1",
            "pp16/1",
            "tg4/1",
            "pp8 @ d32/1",
            "pp16 @ d32/1",
            "tg4 @ d32/1",
            "pp8/2",
            "pp16/2",
            "tg4/2",
            "pp8 @ d32/2",
            "pp16 @ d32/2",
            "tg4 @ d32/2");
    List<String> keys = new ArrayList<>();
    rows.get(0).fieldNames().forEachRemaining(keys::add);
    assertThat(keys)
        .contains(
            "model",
            "parameters",
            "bytes",
            "backend",
            "tier",
            "threads",
            "test",
            "tps_median",
            "tps_min",
            "tps_max");
    JsonNode first = rows.get(0);
    assertThat(first.get("tier").asText()).isEqualTo("reference");
    assertThat(first.get("model").asText()).isEqualTo("stories-qwen3");
    assertThat(first.get("tps")).hasSize(2);
    assertThat(first.get("tps_median").asDouble())
        .isBetween(first.get("tps_min").asDouble(), first.get("tps_max").asDouble());
  }

  @Test
  void benchPrintsTablesLinesAndCommas() throws Exception {
    assertThat(bench("-p", "8", "-n", "0").succeeded().out())
        .startsWith("| model ")
        .contains("| stories-qwen3 |", " pp8 |", "median of 2 runs");
    String csv = bench("-p", "8", "-n", "2", "-o", "csv").succeeded().out();
    assertThat(csv.lines()).hasSize(3);
    assertThat(csv).startsWith("model,parameters,bytes,backend,tier,threads,test,tps_median,");
    assertThat(csv).contains("\"pp8\"", "\"tg2\"");
    String lines = bench("-p", "0", "-n", "2", "-pg", "4,2", "-o", "jsonl").succeeded().out();
    assertThat(lines.lines()).hasSize(2);
    for (String line : lines.lines().toList()) {
      assertThat(new ObjectMapper().readTree(line).get("tps_median").asDouble()).isPositive();
    }
    assertThat(lines).contains("pp4+tg2");
    bench("-p", "513").failed(1, "513 tokens", "context is 512");
  }

  @Test
  void listsAndRangesAreThoseOfLlamaBench() {
    assertThat(NumberList.parse("-p", "128,512")).containsExactly(128, 512);
    assertThat(NumberList.parse("-t", "1-4")).containsExactly(1, 2, 3, 4);
    assertThat(NumberList.parse("-p", "128-512+128")).containsExactly(128, 256, 384, 512);
    assertThat(NumberList.parse("-p", "128-1024*2,7")).containsExactly(128, 256, 512, 1024, 7);
  }
}
