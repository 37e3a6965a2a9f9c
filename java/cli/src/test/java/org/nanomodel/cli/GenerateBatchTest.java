package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code generate} with several prompts, several answers, and what it tells of tokens. */
class GenerateBatchTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @TempDir Path directory;

  private static Nanomodel generate(String... more) {
    var args = new ArrayList<>(List.of("generate", "-m", Nanomodel.model(), "-n", "12"));
    args.addAll(List.of(more));
    return Nanomodel.run(args.toArray(String[]::new)).succeeded();
  }

  private static List<JsonNode> lines(Nanomodel run) throws IOException {
    var lines = new ArrayList<JsonNode>();
    for (String line : run.out().lines().toList()) {
      lines.add(MAPPER.readTree(line));
    }
    return lines;
  }

  @Test
  void everyRowOfAPromptFileIsAnsweredOnALineOfItsOwn() throws IOException {
    Path file = directory.resolve("prompts.jsonl");
    Files.writeString(
        file,
        """
        {"text": "Once upon a time"}
        {"text": "The cat"}
        """);
    String[] flags = {"--temp", "0.8", "--seed", "4", "--n", "2", "--json"};
    var args = new ArrayList<>(List.of("--prompt-file", file.toString()));
    args.addAll(List.of(flags));
    List<JsonNode> lines = lines(generate(args.toArray(String[]::new)));
    assertThat(lines).hasSize(4);
    for (int i = 0; i < 4; i++) {
      JsonNode line = lines.get(i);
      assertThat(line.get("index").asInt()).isEqualTo(i / 2);
      assertThat(line.get("sample").asInt()).isEqualTo(i % 2);
      assertThat(line.get("seed").asInt()).isEqualTo(4 + i % 2);
      JsonNode alone =
          generate(
                  "-p",
                  i < 2 ? "Once upon a time" : "The cat",
                  "--temp",
                  "0.8",
                  "--seed",
                  Integer.toString(4 + i % 2),
                  "--json")
              .json();
      for (String key : List.of("text", "input_ids", "output_ids", "finish_reason")) {
        assertThat(line.get(key)).isEqualTo(alone.get(key));
      }
    }
    String plain = generate("--prompt-file", file.toString()).out();
    assertThat(plain.lines()).contains("--- 0.0", "--- 1.0");
    assertThat(plain).contains(", there was");
  }

  @Test
  void logprobsBiasAndPenaltiesAreFlags() {
    JsonNode json = generate("-p", "Once upon a time", "--logprobs", "2", "--json").json();
    assertThat(json.get("logprobs")).hasSize(12);
    JsonNode first = json.at("/logprobs/0");
    int id = json.at("/output_ids/0").asInt();
    assertThat(first.get("id").asInt()).isEqualTo(id);
    assertThat(first.get("token").asText()).isEqualTo(",");
    assertThat(first.get("logprob").asDouble()).isNegative();
    assertThat(first.get("top")).hasSize(2);
    assertThat(first.at("/top/0/id").asInt()).isEqualTo(id);
    JsonNode banned =
        generate("-p", "Once upon a time", "--logit-bias", id + "=-Infinity", "--json").json();
    assertThat(banned.get("output_ids").toString()).doesNotContain("[" + id + ",");
    assertThat(banned.has("logprobs")).isFalse();
    JsonNode penalized = generate("-p", "One day", "--frequency-penalty", "100", "--json").json();
    var ids = new ArrayList<Integer>();
    penalized.get("output_ids").forEach(n -> ids.add(n.asInt()));
    assertThat(ids).doesNotHaveDuplicates();
  }

  @Test
  void valuesThatDoNotFitAreUsage() {
    String[] args = {"generate", "-m", Nanomodel.model(), "-p", "x", "--n", "0"};
    Nanomodel run = Nanomodel.run(args);
    assertThat(run.code()).isNotZero();
    assertThat(run.err()).contains("n = 0");
  }
}
