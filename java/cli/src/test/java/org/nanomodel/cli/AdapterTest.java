package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code quantize --adapter-rank}, and {@code --adapter} of the verbs that run models. */
class AdapterTest {
  @TempDir private Path directory;

  private double perplexity(Path model, String adapter) {
    return Nanomodel.run(
            "eval",
            "--model",
            model.toString(),
            "--adapter",
            adapter,
            "--data",
            "stories-eval",
            "--samples",
            "2",
            "--protocol",
            "rows",
            "--json")
        .succeeded()
        .json()
        .get("ppl")
        .asDouble();
  }

  @Test
  void anAdapterIsMadeRunsAndCanBeLeftOut() {
    Path out = directory.resolve("out");
    String[] quantize = {
      "quantize",
      "--model",
      Nanomodel.model(),
      "--bits",
      "2",
      "--group-size",
      "64",
      "--output",
      out.toString(),
      "--adapter-rank",
      "16",
      "--json",
      "--calibration",
      "stories-calib",
      "--samples",
      "4"
    };
    JsonNode made = Nanomodel.run(quantize).succeeded().json();
    assertThat(made.get("adapter_rank").asInt()).isEqualTo(16);
    long bytes = 0; // 2 R (N + K) of each module
    for (JsonNode tensor :
        Nanomodel.run("inspect", "--model", Nanomodel.model(), "--tensors", "--json")
            .succeeded()
            .json()
            .get("tensors")) {
      JsonNode shape = tensor.get("shape");
      boolean linear = tensor.get("name").asText().endsWith("_proj.weight");
      bytes += linear ? 2 * 16 * (shape.get(0).asLong() + shape.get(1).asLong()) : 0;
    }
    assertThat(made.get("adapter_bytes").asLong()).isEqualTo(bytes);
    JsonNode adapter =
        Nanomodel.run("inspect", "--model", out.toString(), "--json")
            .succeeded()
            .json()
            .get("adapter");
    assertThat(adapter.get("modules").asInt()).isEqualTo(42);
    assertThat(adapter.get("bytes").asLong()).isEqualTo(bytes);
    double with = perplexity(out, out.resolve("adapter").toString());
    assertThat(with).isLessThan(perplexity(out, "none"));
    var stored =
        Nanomodel.run(
                "eval",
                "--model",
                out.toString(),
                "--data",
                "stories-eval",
                "--samples",
                "2",
                "--protocol",
                "rows",
                "--json")
            .succeeded()
            .json();
    assertThat(stored.get("ppl").asDouble()).isEqualTo(with);
  }

  @Test
  void whatIsMissingIsNamed() {
    Path out = directory.resolve("out");
    Nanomodel.run(
            "quantize",
            "--model",
            Nanomodel.model(),
            "--adapter-rank",
            "4",
            "--output",
            out.toString())
        .failed(2, "--calibration is missing: an adapter needs");
    Nanomodel.run(
            "logits",
            "--model",
            Nanomodel.model(),
            "--adapter",
            out.toString(),
            "--input-ids",
            "5",
            "--output",
            directory.resolve("l").toString())
        .failed(3, "adapter_config.json");
  }
}
