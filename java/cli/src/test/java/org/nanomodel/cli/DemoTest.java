package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's main job, whole. */
class DemoTest {
  @Test
  void demoComparesFiveVariants(@TempDir Path directory) throws Exception {
    Nanomodel run = Nanomodel.run("demo", "-o", directory.toString(), "--json").succeeded();
    JsonNode rows = run.json().get("rows");
    assertThat(rows).hasSize(5);
    assertThat(rows.get(0).get("ppl").asDouble()).isCloseTo(2.536, within(0.0005));
    for (int i = 1; i < 5; i++) {
      assertThat(rows.get(i).get("bytes").asLong())
          .isLessThan(rows.get(i - 1).get("bytes").asLong());
      assertThat(rows.get(i).get("decode_tps").asDouble()).isPositive();
      assertThat(rows.get(i).get("kld_mean").asDouble())
          .isGreaterThan(rows.get(i - 1).get("kld_mean").asDouble());
      assertThat(rows.get(i).get("top1_agreement").asDouble())
          .isLessThan(rows.get(i - 1).get("top1_agreement").asDouble());
    }
    assertThat(rows.get(1).get("ppl").asDouble()).isCloseTo(2.536, within(0.005));
    assertThat(rows.get(2).get("ppl").asDouble()).isBetween(2.6, 2.75);
    assertThat(rows.get(3).get("ppl").asDouble()).isBetween(3.0, 3.6);
    assertThat(rows.get(4).get("ppl").asDouble()).isGreaterThan(10);
    JsonNode stories = run.json().get("stories");
    assertThat(stories).hasSize(5);
    assertThat(stories.get(0).get("text").asText())
        .startsWith(", there was a little girl named Lily.");
    assertThat(Files.readString(Path.of(run.json().get("table").asText())))
        .contains("| 4 bits ", "What they write", "**2 bits**");
    if (!run.json().get("plot").isNull()) {
      assertThat(Path.of(run.json().get("plot").asText())).isNotEmptyFile();
    }
    Nanomodel small =
        Nanomodel.run("inspect", "-m", directory.resolve("stories-qwen3-4bit").toString());
    assertThat(small.succeeded().out()).contains("4 bits, groups of 128, symmetric");
  }
}
