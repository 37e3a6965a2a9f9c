package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.checkpoint.TinyModel;

/**
 * Whole models, spoilt in one place (RELIABILITY C1 to C10): each is refused by file and field, and
 * a good model loads afterwards in the same JVM.
 */
@Timeout(60)
class BadModelTest {
  private static final TinyModel TINY = new TinyModel(32, 64, 2, false);

  @TempDir Path temp;
  private Path model;

  /** How to spoil a good model, and what the refusal must say. */
  record Case(String name, Spoiler spoiler, String... says) {
    /** One field of config.json, as it stands there, by another text. */
    static Case config(String name, String from, String to, String... says) {
      return new Case(
          name,
          model -> {
            Path file = model.resolve("config.json");
            String text = Files.readString(file);
            assertThat(text).contains(from);
            Files.writeString(file, text.replace(from, to));
          },
          says);
    }

    /** A file of this content. */
    static Case file(String name, String file, String content, String... says) {
      return new Case(name, model -> Files.writeString(model.resolve(file), content), says);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  interface Spoiler {
    void spoil(Path model) throws IOException;
  }

  @BeforeEach
  void writeGoodModel() throws IOException {
    model = TINY.write(temp.resolve("model"));
  }

  @AfterEach
  void aGoodModelLoadsAfterwards() throws IOException {
    load(TINY.write(temp.resolve("good")));
  }

  private static void load(Path model) {
    try (var loaded = AutoNanoModel.load(model)) {
      assertThat(loaded.graph().bytes()).isPositive();
      loaded.tokenizer();
    }
  }

  static Stream<Case> cases() {
    return Stream.of(texts(), numbers(), tensors(), files()).flatMap(s -> s);
  }

  private static Stream<Case> texts() {
    String deep = "[".repeat(100_000) + "]".repeat(100_000);
    return Stream.of(
        Case.file("C1 not JSON", "config.json", "hello", "config.json"),
        Case.file("C1 empty", "config.json", "", "config.json"),
        Case.file("C1 BOM", "config.json", "\uFEFF{}", "config.json"),
        Case.file("C1 NUL", "config.json", "{\0}", "config.json"),
        Case.file("C1 NULs only", "config.json", "\0".repeat(1000), "config.json"),
        Case.file("C1 deep", "config.json", "{\"a\":" + deep + "}", "config.json"),
        Case.file("C1 deep quantize_config", "quantize_config.json", deep, "quantize_config.json"),
        Case.file("C1 deep generation", "generation_config.json", deep, "generation_config.json"),
        new Case("C1 200 MB", m -> sparse(m.resolve("config.json")), "config.json", "209715200"),
        new Case(
            "C1 200 MB quantize_config",
            m -> sparse(m.resolve("quantize_config.json")),
            "quantize_config.json",
            "209715200"),
        new Case(
            "C1 200 MB tokenizer",
            m -> sparse(m.resolve("tokenizer.json")),
            "tokenizer.json",
            "209715200"),
        Case.file(
            "T3 added token beyond the embedding",
            "tokenizer.json",
            """
            {"added_tokens":[{"id":64,"content":"<x>","single_word":false,"lstrip":false,
              "rstrip":false,"normalized":false,"special":true}],
             "model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}
            """,
            "tokenizer.json",
            "added_tokens",
            "64",
            "vocab_size = 64"),
        Case.config("C2 duplicate key", "{", "{\"vocab_size\": 3,", "config.json", "vocab_size"),
        Case.config("C2 no model_type", "\"model_type\"", "\"x\"", "model_type is missing"),
        Case.config("C2 no architectures", "\"architectures\"", "\"x\"", "architectures"),
        Case.config("C2 unknown type", "\"llama\"", "\"gpt9\"", "gpt9", "supported: llama"),
        Case.file(
            "C2 quantize_config twice",
            "quantize_config.json",
            "{\"bits\":4,\"bits\":8}",
            "quantize_config.json",
            "bits"));
  }

  /** C3, C5: each field at numbers that are no sizes. */
  private static Stream<Case> numbers() {
    String[] fields = {
      "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
      "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"
    };
    String[] values = {
      "0",
      "-1",
      "1000000000000000000",
      "2147483648",
      "64.5",
      "1e999",
      "\"64\"",
      "true",
      "[]",
      "1" + "0".repeat(900)
    };
    Stream<Case> sizes =
        Stream.of(fields)
            .flatMap(field -> Stream.of(values).map(value -> number("C3", field, value)));
    Stream<Case> reals =
        Stream.of("rms_norm_eps", "rope_theta")
            .flatMap(field ->
                Stream.of("0", "-1", "NaN", "-Infinity", "1e999", "\"x\"", "{}")
                    .map(value -> number("C5", field, value)));
    return Stream.concat(sizes, reals);
  }

  /** The field at this value, wherever it stands. */
  private static Case number(String id, String field, String value) {
    return new Case(
        id + " " + field + " " + (value.length() > 30 ? "of 900 digits" : value),
        model -> {
          Path file = model.resolve("config.json");
          String text = Files.readString(file);
          String spoilt =
              text.replaceFirst("\"" + field + "\": [^,}]*", "\"" + field + "\": " + value);
          assertThat(spoilt).isNotEqualTo(text);
          Files.writeString(file, spoilt);
        },
        "config.json",
        field);
  }

  /** C4, C6: config.json and the tensors do not agree. */
  private static Stream<Case> tensors() {
    return Stream.of(
        Case.config("C4 vocab", "\"vocab_size\": 64", "\"vocab_size\": 65", "embed_tokens", "65"),
        Case.config(
            "C4 vocab of 16 million",
            "\"vocab_size\": 64",
            "\"vocab_size\": 16777216",
            "embed_tokens"),
        Case.config("C4 ffn", "\"intermediate_size\": 64", "\"intermediate_size\": 63", "mlp"),
        Case.config(
            "C4 one layer more", "_layers\": 2", "_layers\": 3", "model.layers.2", "missing"),
        Case.config("C4 4096 layers", "_layers\": 2", "_layers\": 4096", "model.layers.2"),
        Case.config("C4 heads", "_attention_heads\": 4", "_attention_heads\": 8", "self_attn"),
        Case.config("C4 kv heads", "_value_heads\": 2", "_value_heads\": 4", "self_attn"),
        Case.config("C4 head_dim", "\"head_dim\": 8", "\"head_dim\": 16", "self_attn"),
        Case.config("C4 hidden", "\"hidden_size\": 32", "\"hidden_size\": 64", "embed_tokens"),
        Case.config("C4 biases promised", "{", "{\"attention_bias\": true,", "bias", "missing"),
        new Case(
            "C6 no head, not tied",
            model -> {
              new TinyModel(32, 64, 2, true).write(model);
              Path config = model.resolve("config.json");
              String text = Files.readString(config);
              Files.writeString(config, text.replace("embeddings\": true", "embeddings\": false"));
            },
            "lm_head",
            "tie_word_embeddings"));
  }

  /** C9, C10: what stands where a file should be. */
  private static Stream<Case> files() {
    Stream<Case> kinds =
        Stream.of(
                "config.json",
                "generation_config.json",
                "quantize_config.json",
                "model.safetensors",
                "tokenizer.json")
            .flatMap(file ->
                Stream.of(
                    new Case(
                        "C10 folder " + file,
                        m -> Files.createDirectory(cleared(m.resolve(file))),
                        file),
                    new Case("C10 pipe " + file, m -> pipe(cleared(m.resolve(file))), file),
                    new Case(
                        "C10 device " + file,
                        m ->
                            Files.createSymbolicLink(
                                cleared(m.resolve(file)), Path.of("/dev/zero")),
                        file),
                    new Case(
                        "C10 unreadable " + file,
                        m -> {
                          Path f = m.resolve(file);
                          Files.writeString(f, "{}");
                          Files.setPosixFilePermissions(
                              f, PosixFilePermissions.fromString("---------"));
                        },
                        file)));
    return Stream.concat(
        kinds,
        Stream.of(
            index("C9 shard missing", "{\"a\":\"x.safetensors\"}", "x.safetensors"),
            index("C9 absolute", "{\"a\":\"/etc/passwd\"}", "weight_map"),
            index("C9 parent", "{\"a\":\"../x.safetensors\"}", "weight_map"),
            index("C9 not a text", "{\"a\":7}", "'a'"),
            index("C9 tensor not there", "{\"a\":\"s.safetensors\"}", "'a'")));
  }

  private static Case index(String name, String map, String says) {
    return new Case(
        name,
        model -> {
          Files.move(model.resolve("model.safetensors"), model.resolve("s.safetensors"));
          Files.writeString(
              model.resolve("model.safetensors.index.json"), "{\"weight_map\":" + map + "}");
        },
        says);
  }

  private static Path cleared(Path file) throws IOException {
    Files.deleteIfExists(file);
    return file;
  }

  private static void pipe(Path file) throws IOException {
    try {
      assumeTrue(new ProcessBuilder("mkfifo", file.toString()).start().waitFor() == 0);
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  private static void sparse(Path file) throws IOException {
    try (var f = new RandomAccessFile(file.toFile(), "rw")) {
      f.setLength(200L << 20);
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void isRefused(Case c) throws IOException {
    c.spoiler().spoil(model);
    if (c.name().contains("unreadable")) {
      String file = c.says()[0];
      assumeFalse(Files.isReadable(model.resolve(file)), "root reads every file");
    }
    Refused.saying(() -> load(model), c.says());
  }

  /** What is odd, but says nothing wrong. */
  @ParameterizedTest
  @ValueSource(strings = {"mod\u00e8le-\u6a21\u578b", "with space", "-dash", "%2e%2e", "a'b\"c"})
  void pathsMayBeOfAnyCharacters(String name) throws IOException {
    String jnu = System.getProperty("sun.jnu.encoding", "UTF-8");
    assumeTrue(
        Charset.forName(jnu).newEncoder().canEncode(name), "this locale has no such file names");
    load(TINY.write(temp.resolve(name)));
  }

  @Test
  void pathsMayBeLongAndNamesTooLongAreRefused() throws IOException {
    Path deep = temp;
    for (int i = 0; i < 4; i++) {
      deep = deep.resolve("d".repeat(200));
    }
    load(TINY.write(deep));
    Refused.saying(() -> load(temp.resolve("n".repeat(300))), "does not exist");
  }

  @Test
  void aTotalSizeThatLiesDoesNoHarm() throws IOException {
    Files.move(model.resolve("model.safetensors"), model.resolve("s.safetensors"));
    var map = new StringBuilder();
    TINY.tensorNames()
        .forEach(
            n -> map.append(map.isEmpty() ? "" : ",").append("\"" + n + "\":\"s.safetensors\""));
    Files.writeString(
        model.resolve("model.safetensors.index.json"),
        "{\"metadata\":{\"total_size\":-5},\"weight_map\":{" + map + "}}",
        StandardCharsets.UTF_8);
    load(model);
  }

  /** A float model says tied: a head of its own is not needed, and not looked at. */
  @Test
  void aHeadBesideTiedEmbeddingsDoesNoHarm() throws IOException {
    Path config = model.resolve("config.json");
    Files.writeString(
        config, Files.readString(config).replace("embeddings\": false", "embeddings\": true"));
    load(model);
  }
}
