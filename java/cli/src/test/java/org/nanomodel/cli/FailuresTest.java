package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever goes wrong: one line, the right exit code, and with --json a document. */
class FailuresTest {
  @TempDir private Path directory;

  private Path copyOfModel() throws IOException {
    Path copy = Files.createDirectory(directory.resolve("model"));
    try (var files = Files.list(Path.of(Nanomodel.model()))) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    return copy;
  }

  @Test
  void noVerbIsAUsageErrorThatListsThem() {
    Nanomodel.run()
        .failed(
            2,
            "generate, chat, eval, quantize, smooth-scales, convert, inspect, logits, compare, bench, demo,"
                + " doctor");
  }

  @ParameterizedTest
  @ValueSource(strings = {"serve", "train", "data", "sweep", "download", "push", "list", "rm"})
  void laterVerbsAreRefusedByName(String verb) {
    Nanomodel.run(verb, "--model", "x").failed(2, "'" + verb + "' is not part of this version");
  }

  @Test
  void unknownVerbsAndFlags() {
    Nanomodel.run("frobnicate").failed(2, "Unknown verb 'frobnicate'");
    Nanomodel.run("inspect", "-m", "x", "--frob").failed(2, "--frob", "nanomodel inspect --help");
    Nanomodel.run("inspect").failed(2, "--model");
    Nanomodel.run("generate", "-m", "x", "-n", "many", "-p", "y").failed(2, "many");
    Nanomodel.run("generate", "-m", Nanomodel.model()).failed(2, "--prompt");
    Nanomodel.run("eval", "-m", Nanomodel.model()).failed(2, "--data");
    Nanomodel.run("eval", "-m", "x", "--data", "y", "--protocol", "wiki").failed(2, "llama.cpp");
    Nanomodel.run("eval", "-m", "x", "--data", "y", "--metric", "kl").failed(2, "--reference");
    Nanomodel.run("eval", "-m", "x", "--data", "y", "--reference", "z").failed(2, "--metric kl");
    Nanomodel.run("eval", "-m", "x", "--data", "y", "--metric", "mse").failed(2, "ppl or kl");
    Nanomodel.run("bench", "-m", "x", "-p", "5-1").failed(2, "-p 5-1", "128-512+128");
    Nanomodel.run("bench", "-m", "x", "-p", "0", "-n", "0").failed(2, "nothing to measure");
    Nanomodel.run("bench", "-m", "x", "-o", "sql").failed(2, "md, json, jsonl, csv");
    Nanomodel.run("bench", "-m", "x", "-r", "0").failed(2, "-r 0");
    Nanomodel.run("compare", "-m", "x", "-o", "y").failed(2, "--data");
    Nanomodel.run("compare", "-m", "x", "-o", "y", "--data", "z", "--bits", "5").failed(2, "5");
    Nanomodel.run("doctor", "--tier", "mmx").failed(2, "mmx");
    Nanomodel.run("doctor", "--device", "tpu").failed(2, "tpu");
    Nanomodel.run("doctor", "--activations", "int3").failed(2, "int3", "near-exact");
    Nanomodel.run("demo", "--web").failed(2, "--web");
    String output = directory.resolve("q").toString();
    Nanomodel.run("quantize", "-m", Nanomodel.model(), "-o", output, "--method", "gptq")
        .failed(2, "--calibration", "gptq");
    Nanomodel.run("quantize", "-m", Nanomodel.model(), "-o", output, "--bits", "5").failed(2, "5");
    Nanomodel.run("convert", "-m", Nanomodel.model(), "-o", output, "--format", "marlin")
        .failed(1, "is a float model", "marlin");
    Nanomodel.run("convert", "-m", Nanomodel.model(), "-o", output, "--format", "int3")
        .failed(2, "int3", "float32", "gptq_v2", "mlx");
  }

  @Test
  void missingModel() {
    Nanomodel.run("inspect", "-m", directory.resolve("none").toString())
        .failed(3, "none", "stories-qwen3");
    Nanomodel.run("inspect", "-m", "someone/something").failed(3, "Hugging Face cache");
  }

  @Test
  void directoryWithoutConfig() {
    Nanomodel.run("generate", "-m", directory.toString(), "-p", "a").failed(3, "config.json");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "{", "[]", "{}", "{\"model_type\":\"mamba\",\"architectures\":[\"M\"]}"})
  void malformedConfig(String config) throws IOException {
    Path model = copyOfModel();
    Files.writeString(model.resolve("config.json"), config);
    Nanomodel.run("generate", "-m", model.toString(), "-p", "a").failed(3, "config.json");
  }

  @Test
  void malformedWeights() throws IOException {
    Path model = copyOfModel();
    Path weights = model.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length / 2));
    Nanomodel.run("generate", "-m", model.toString(), "-p", "a").failed(3, "model.safetensors");
    Files.write(weights, new byte[3]);
    Nanomodel.run("inspect", "-m", model.toString()).failed(3, "model.safetensors");
  }

  @Test
  void malformedTokenizer() throws IOException {
    Path model = copyOfModel();
    Files.writeString(model.resolve("tokenizer.json"), "{\"model\":");
    Nanomodel.run("generate", "-m", model.toString(), "-p", "a").failed(3, "tokenizer.json");
    Files.delete(model.resolve("tokenizer.json"));
    Nanomodel.run("generate", "-m", model.toString(), "-p", "a").failed(1, "--input-ids");
  }

  @Test
  void missingData() {
    Nanomodel.run("eval", "-m", Nanomodel.model(), "--data", "nothing").failed(1, "no such file");
    Nanomodel.run("generate", "-m", Nanomodel.model(), "-f", "nothing").failed(1, "nothing");
  }

  @Test
  void outputThatHoldsSomethingElse() throws IOException {
    Files.writeString(directory.resolve("mine.txt"), "mine");
    Nanomodel.run(
            "convert", "-m", Nanomodel.model(), "--format", "float32", "-o", directory.toString())
        .failed(1, directory.toString());
    assertThat(directory.resolve("mine.txt")).hasContent("mine");
  }

  @Test
  void withJsonTheErrorIsADocumentToo() {
    Nanomodel usage = Nanomodel.run("inspect", "-m", "x", "--frob", "--json");
    assertThat(usage.code()).isEqualTo(2);
    assertThat(usage.json().at("/error/type").asText()).isEqualTo("usage");
    Nanomodel bad = Nanomodel.run("inspect", "-m", directory.toString(), "--json");
    assertThat(bad.code()).isEqualTo(3);
    assertThat(bad.json().at("/error/type").asText()).isEqualTo("bad_model");
    assertThat(bad.json().at("/error/message").asText()).contains("config.json");
    assertThat(bad.err().lines()).hasSize(1);
  }

  @Test
  void stackTracesComeWithVOnly() {
    Nanomodel run = Nanomodel.run("inspect", "-m", directory.toString(), "-v");
    assertThat(run.code()).isEqualTo(3);
    assertThat(run.err()).contains("BadModelException").contains("\tat org.nanomodel");
  }
}
