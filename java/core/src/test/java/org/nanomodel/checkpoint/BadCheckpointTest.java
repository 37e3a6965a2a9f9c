package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;

/**
 * RELIABILITY C1, C7, C8, C10: each contradiction is one line that names the file and the tensor or
 * field.
 */
class BadCheckpointTest {
  private static final int N = 32;
  private static final int K = 64;
  private static final String CONFIG = "{\"bits\":4,\"group_size\":32}";

  private static Engine engine;

  @TempDir Path temp;

  @BeforeAll
  static void open() {
    engine = Engine.open();
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  /** A good module m of 4 bits, [32, 64] in groups of 32, to be spoilt. */
  private static final class Module {
    final List<TensorSpec> specs = new ArrayList<>(GptqParts.specs("m", N, K, 4, 32));
    final List<MemorySegment> data = new ArrayList<>();
    String config = CONFIG;

    Module() {
      for (TensorSpec spec : specs) {
        data.add(MemorySegment.ofArray(new byte[(int) spec.byteSize()]));
      }
      for (int k = 0; k < K; k++) {
        setInt(3, k, k / 32);
      }
    }

    void setInt(int tensor, int index, int value) {
      data.get(tensor).set(ValueLayout.JAVA_INT_UNALIGNED, 4L * index, value);
    }

    void setHalf(int index, float value) {
      data.get(2).set(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * index, Float.floatToFloat16(value));
    }

    void reshape(int tensor, DType type, long... shape) {
      var spec = new TensorSpec(specs.get(tensor).name(), type, shape);
      specs.set(tensor, spec);
      data.set(tensor, MemorySegment.ofArray(new byte[(int) spec.byteSize()]));
    }

    void drop(int tensor) {
      specs.remove(tensor);
      data.remove(tensor);
    }

    Path write(Path directory) throws IOException {
      Files.createDirectories(directory);
      Files.writeString(directory.resolve("config.json"), "{}");
      if (config != null) {
        Files.writeString(directory.resolve("quantize_config.json"), config);
      }
      try (var writer = SafetensorsWriter.create(directory.resolve("model.safetensors"), specs)) {
        for (int i = 0; i < specs.size(); i++) {
          writer.put(specs.get(i).name(), data.get(i));
        }
        writer.finish();
      }
      return directory;
    }
  }

  record Case(String name, Consumer<Module> spoil, String... inMessage) {
    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Case> cases() {
    return Stream.of(
        new Case(
            "qweight one row short", m -> m.reshape(0, DType.I32, 7, N), "m.qweight", "bits 4"),
        new Case("qweight one row long", m -> m.reshape(0, DType.I32, 9, N), "m.qweight", "bits 4"),
        new Case(
            "qweight one column short", m -> m.reshape(0, DType.I32, 8, 31), "m.scales", "[*, 31]"),
        new Case(
            "qweight of rank 1", m -> m.reshape(0, DType.I32, 256), "m.qweight", "shape [256]"),
        new Case(
            "qweight of rank 3",
            m -> m.reshape(0, DType.I32, 8, 4, 8),
            "m.qweight",
            "shape [8, 4, 8]"),
        new Case(
            "qweight of floats", m -> m.reshape(0, DType.F32, 8, N), "m.qweight", "F32", "I32"),
        new Case("qweight empty", m -> m.reshape(0, DType.I32, 0, 0), "m."),
        new Case("qzeros one row long", m -> m.reshape(1, DType.I32, 3, 4), "m.qzeros", "[2, 4]"),
        new Case(
            "qzeros one column short", m -> m.reshape(1, DType.I32, 2, 3), "m.qzeros", "[2, 4]"),
        new Case("qzeros of bytes", m -> m.reshape(1, DType.U8, 2, 4), "m.qzeros", "U8"),
        new Case("qzeros missing", m -> m.drop(1), "m.qzeros", "missing"),
        new Case("scales missing", m -> m.drop(2), "m.scales", "missing"),
        new Case(
            "scales one row long",
            m -> m.reshape(2, DType.F16, 3, N),
            "m.qweight",
            "group_size 32"),
        new Case("scales of F64", m -> m.reshape(2, DType.F64, 2, N), "m.scales", "F64"),
        new Case("a scale NaN", m -> m.setHalf(33, Float.NaN), "m.scales", "[1, 1] is NaN"),
        new Case(
            "a scale infinite",
            m -> m.setHalf(0, Float.POSITIVE_INFINITY),
            "m.scales",
            "[0, 0] is Infinity"),
        new Case("a scale negative", m -> m.setHalf(63, -1), "m.scales", "[1, 31] is -1.0"),
        new Case("g_idx negative", m -> m.setInt(3, 5, -1), "m.g_idx", "element 5 is -1"),
        new Case("g_idx too large", m -> m.setInt(3, 5, 2), "m.g_idx", "element 5 is 2", "0..1"),
        new Case(
            "g_idx with a group too wide", m -> m.setInt(3, 5, 1), "m.g_idx", "group 0 31 columns"),
        new Case("g_idx too short", m -> m.reshape(3, DType.I32, 56), "m.qweight", "K = 56"),
        new Case("g_idx of I64", m -> m.reshape(3, DType.I64, 64), "m.g_idx", "I64"),
        new Case(
            "other bits",
            m -> m.config = CONFIG.replace('4', '8'),
            "m.qweight",
            "bits 8",
            "quantize_config.json"),
        new Case(
            "other group",
            m -> m.config = CONFIG.replace("32", "16"),
            "m.qweight",
            "group_size 16"),
        new Case(
            "whole rows", m -> m.config = CONFIG.replace("32", "-1"), "m.qweight", "group_size -1"),
        new Case("no config", m -> m.config = null, "m.qweight", "neither quantize_config.json"),
        new Case(
            "left in float, it is said",
            m -> m.config = "{\"bits\":4,\"group_size\":32,\"dynamic\":{\"-:m\":{}}}",
            "m.qweight",
            "dynamic"));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void isRefusedByFileAndTensor(Case c) throws IOException {
    var module = new Module();
    c.spoil().accept(module);
    Path directory = module.write(temp.resolve("bad"));
    try (var model = ModelDirectory.open(directory, engine);
        var arena = Arena.ofConfined()) {
      assertThatThrownBy(() -> model.linear(arena, "m"))
          .isInstanceOf(BadModelException.class)
          .hasMessageContaining("bad")
          .hasMessageContainingAll(c.inMessage())
          .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
    }
  }

  @Test
  void theUnspoiltModuleIsRead() throws IOException {
    var module = new Module();
    module.setHalf(40, 0.5f); // the other scales are 0, which float16 makes of tiny ones
    try (var model = ModelDirectory.open(module.write(temp.resolve("good")), engine);
        var arena = Arena.ofConfined()) {
      var w = (QuantizedWeight) model.linear(arena, "m");
      assertThat(w.scales().get(ValueLayout.JAVA_FLOAT, 160)).isEqualTo(0.5f);
      assertThat(w.gIdx()).isNull();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{'quant_method':'fp8'}",
        "{'quant_method':'bitblas','bits':4}",
        "{'quant_method':'compressed-tensors','format':'nvfp4-pack-quantized'}"
      })
  void formatsThatAreNotDecodedAreRefusedByNameAndStillInspected(String config) throws IOException {
    var module = new Module();
    module.config = config.replace('\'', '"');
    try (var model = ModelDirectory.open(module.write(temp.resolve("m")))) {
      assertThatThrownBy(model::requireReadable).isInstanceOf(UnsupportedModelException.class);
      assertThat(model.quantization().orElseThrow().unsupported().orElseThrow())
          .containsAnyOf("fp8", "bitblas", "nvfp4");
      assertThat(model.tensors()).isNotEmpty();
      assertThat(ModelSize.of(model).parameters()).isPositive();
      try (var arena = Arena.ofConfined()) {
        assertThatThrownBy(() -> model.linear(arena, "m"))
            .isInstanceOf(UnsupportedModelException.class);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "nonsense",
        "[]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1} {}",
        "{\"a\":\u0000}",
        "\uFEFF{}",
        "{\"quantization_config\":[]}"
      })
  void configFilesThatAreNoneAreRefused(String text) throws IOException {
    Path directory = new Module().write(temp.resolve("json"));
    Files.delete(directory.resolve("quantize_config.json"));
    Files.writeString(directory.resolve("config.json"), text);
    assertThatThrownBy(() -> ModelDirectory.open(directory))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("config.json")
        .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
  }

  @Test
  void aConfigOfGreatDepthOrSizeIsRefused() throws IOException {
    Path directory = new Module().write(temp.resolve("deep"));
    Path config = directory.resolve("quantize_config.json");
    Files.writeString(config, "{\"a\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}");
    assertThatThrownBy(() -> ModelDirectory.open(directory)).isInstanceOf(BadModelException.class);
    Files.writeString(config, "{\"a\":\"" + "x".repeat(17 << 20) + "\"}");
    assertThatThrownBy(() -> ModelDirectory.open(directory))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("expected at most");
  }

  @Test
  void whatIsNoModelDirectoryIsRefused() throws IOException {
    assertThatThrownBy(() -> ModelDirectory.open(temp.resolve("nowhere")))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("does not exist");
    Path file = Files.writeString(temp.resolve("file"), "x");
    assertThatThrownBy(() -> ModelDirectory.open(file)).hasMessageContaining("is not a directory");
    Path empty = Files.createDirectory(temp.resolve("empty"));
    assertThatThrownBy(() -> ModelDirectory.open(empty))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("config.json");
    Files.createDirectory(empty.resolve("config.json"));
    assertThatThrownBy(() -> ModelDirectory.open(empty)).isInstanceOf(BadModelException.class);
    Files.delete(empty.resolve("config.json"));
    Files.writeString(empty.resolve("config.json"), "{}");
    assertThatThrownBy(() -> ModelDirectory.open(empty))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("model.safetensors");
    Files.writeString(empty.resolve("pytorch_model.bin"), "x");
    assertThatThrownBy(() -> ModelDirectory.open(empty))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("pytorch_model.bin");
  }
}
