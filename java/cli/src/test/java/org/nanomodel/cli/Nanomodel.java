package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** One run of the command in this process, and what it printed. */
record Nanomodel(int code, String out, String err) {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  static Nanomodel run(String... args) {
    return run(Map.of(), args);
  }

  static Nanomodel run(Map<String, String> environment, String... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        Main.run(
            args,
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            environment);
    return new Nanomodel(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  /** The one document that standard output must be. */
  JsonNode json() {
    try {
      return MAPPER.readTree(out);
    } catch (JsonProcessingException e) {
      throw new AssertionError("standard output is not one JSON document: " + out, e);
    }
  }

  List<String> keys() {
    List<String> keys = new ArrayList<>();
    json().fieldNames().forEachRemaining(keys::add);
    return keys;
  }

  Nanomodel succeeded() {
    assertThat(code).as(err).isZero();
    return this;
  }

  /** Failed with this code and one line that holds these words; nothing on standard output. */
  void failed(int expected, String... words) {
    assertThat(code).as(out + err).isEqualTo(expected);
    assertThat(err.lines()).hasSize(1);
    assertThat(err).startsWith("nanomodel: ").contains(words);
    assertThat(out).isEmpty();
  }

  static Path root() {
    Path at = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(at.resolve("csrc")) || !Files.exists(at.resolve("pom.xml"))) {
      at = at.getParent();
    }
    return at;
  }

  static String model() {
    return root().resolve("data/models/stories-qwen3").toString();
  }
}
