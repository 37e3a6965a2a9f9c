package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nanomodel.SharedData;
import org.nanomodel.json.JsonFile;

/**
 * What inspect tells of every checkpoint at hand, readable or not, and that it needs headers only.
 */
class ModelSizeTest {
  @TempDir Path temp;

  static Stream<Path> llamas() throws IOException {
    var found = new java.util.ArrayList<Path>();
    for (String folder : List.of("golden/gptqmodel", "golden/formats")) {
      try (var directories = Files.list(SharedData.require(folder))) {
        directories
            .filter(d -> Files.exists(d.resolve("model.safetensors")))
            .filter(d -> config(d).path("model_type").asText().equals("llama"))
            .sorted()
            .forEach(found::add);
      }
    }
    return found.stream();
  }

  private static JsonNode config(Path directory) {
    return JsonFile.read(directory.resolve("config.json"));
  }

  /** The weights that a Llama of this shape has. */
  private static long parametersOf(JsonNode config) {
    long hidden = config.get("hidden_size").asLong();
    long ffn = config.get("intermediate_size").asLong();
    long heads = config.get("num_attention_heads").asLong();
    long head = config.path("head_dim").asLong(hidden / heads);
    long kv = config.path("num_key_value_heads").asLong(heads) * head;
    long layer = 2 * hidden * heads * head + 2 * hidden * kv + 3 * hidden * ffn + 2 * hidden;
    long vocabulary = config.get("vocab_size").asLong() * hidden;
    boolean tied = config.path("tie_word_embeddings").asBoolean();
    return config.get("num_hidden_layers").asLong() * layer + vocabulary * (tied ? 1 : 2) + hidden;
  }

  @ParameterizedTest
  @MethodSource("llamas")
  void parametersAreThoseOfTheArchitecture(Path directory) throws IOException {
    try (var model = ModelDirectory.open(directory)) {
      var size = ModelSize.of(model);
      assertThat(size.parameters()).isEqualTo(parametersOf(model.configJson()));
      int bits = model.quantization().orElseThrow().storedBits("");
      assertThat(bits).isBetween(2, 8);
      // beside the codes at most two bits for scales, zeros and groups; gemv fills rows of them up
      boolean mixed = directory.endsWith("b4_dyn") || directory.endsWith("b4_lmhead");
      assertThat(size.bpw()).isBetween((double) bits, bits + (mixed ? 4.0 : 2.25));
      assertThat(size.bytes()).isLessThan(Files.size(directory.resolve("model.safetensors")));
    }
  }

  @ParameterizedTest
  @MethodSource("llamas")
  void headersAreEnough(Path directory) throws IOException {
    Path hollow = copyOfHeaders(directory, temp.resolve("hollow"));
    try (var whole = ModelDirectory.open(directory);
        var model = ModelDirectory.open(hollow)) {
      assertThat(ModelSize.of(model)).isEqualTo(ModelSize.of(whole));
      assertThat(model.tensors()).isEqualTo(whole.tensors());
      assertThat(model.quantization().map(q -> q.json()))
          .isEqualTo(whole.quantization().map(q -> q.json()));
    }
  }

  /** All files, but of the tensors only a hole of their size. */
  private static Path copyOfHeaders(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (var files = Files.list(from)) {
      for (Path file : files.filter(f -> f.toString().endsWith(".json")).toList()) {
        Files.copy(file, to.resolve(file.getFileName().toString()));
      }
    }
    Path weights = to.resolve("model.safetensors");
    try (var in = new RandomAccessFile(from.resolve("model.safetensors").toFile(), "r");
        var out = new RandomAccessFile(weights.toFile(), "rw")) {
      long header = 8 + Long.reverseBytes(in.readLong());
      in.seek(0);
      var bytes = new byte[Math.toIntExact(header)];
      in.readFully(bytes);
      out.write(bytes);
      out.setLength(in.length());
    }
    return to;
  }

  @Test
  void aFileOfATerabyteTakesNoTime() throws IOException {
    long n = 1L << 19;
    long k = 1L << 22; // 2^41 codes of 4 bits
    String header =
        """
        {"m.qweight":{"dtype":"I32","shape":[%d,%d],"data_offsets":[0,%d]},
         "m.scales":{"dtype":"F16","shape":[1,%d],"data_offsets":[%d,%d]},
         "m.qzeros":{"dtype":"I32","shape":[1,%d],"data_offsets":[%d,%d]}}
        """
            .formatted(
                k / 8,
                n,
                n * k / 2,
                n,
                n * k / 2,
                n * k / 2 + 2 * n,
                n / 8,
                n * k / 2 + 2 * n,
                n * k / 2 + 2 * n + n / 2);
    header += " ".repeat((8 - header.length() % 8) % 8);
    Files.writeString(temp.resolve("config.json"), "{}");
    Files.writeString(temp.resolve("quantize_config.json"), "{\"bits\":4,\"group_size\":-1}");
    Path file = temp.resolve("model.safetensors");
    try (var out = new RandomAccessFile(file.toFile(), "rw")) {
      out.writeLong(Long.reverseBytes(header.length()));
      out.writeBytes(header);
      out.setLength(8 + header.length() + n * k / 2 + 2 * n + n / 2);
    } catch (IOException e) {
      org.junit.jupiter.api.Assumptions.abort("no sparse files here: " + e.getMessage());
    }
    long start = System.nanoTime();
    try (var model = ModelDirectory.open(temp)) {
      var size = ModelSize.of(model);
      assertThat(size.parameters()).isEqualTo(n * k);
      assertThat(size.bpw()).isCloseTo(4, within(0.01));
    }
    assertThat((System.nanoTime() - start) / 1e9).isLessThan(10);
  }
}
