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
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** AWQ files of the GEMM layout, of many writers, and broken ones. */
class GemmCodecTest {
  private static final int N = 24;
  private static final int K = 64;
  private static final String CONFIG =
      "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"zero_point\":true,"
          + "\"version\":\"gemm\",\"modules_to_not_convert\":[\"lm_head\"]}";
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

  /** A module m of random codes, and the file that holds it. */
  private static final class Module {
    final List<TensorSpec> specs = new ArrayList<>();
    final List<MemorySegment> data = new ArrayList<>();
    final QuantizedWeight weight;
    final Arena arena;

    Module(Arena arena, DataType scaleType) {
      this.arena = arena;
      weight = QuantizedWeight.allocate(arena, 4, N, K, 32, null);
      var random = new Random(3);
      for (long i = 0; i < weight.codes().byteSize(); i++) {
        weight.codes().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(16));
      }
      for (long i = 0; i < weight.zeros().byteSize(); i++) {
        weight.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(16));
        weight.scales().set(ValueLayout.JAVA_FLOAT, 4 * i, random.nextInt(1, 128) / 4096f);
      }
      Tensor qweight = Tensor.allocate(arena, DataType.I32, K, N / 8);
      Tensor qzeros = Tensor.allocate(arena, DataType.I32, K / 32, N / 8);
      engine.ops().awqPack(qweight, qzeros, weight);
      Tensor scales = Tensor.allocate(arena, scaleType, K / 32, N);
      engine.ops().convert(scales, Tensor.of(DataType.F32, weight.scales(), K / 32, N));
      add("qweight", qweight);
      add("qzeros", qzeros);
      add("scales", scales);
    }

    void add(String part, Tensor t) {
      specs.add(new TensorSpec("m." + part, DType.valueOf(t.type().name()), t.shape()));
      data.add(t.segment());
    }

    void replace(int index, DType type, long... shape) {
      var spec = new TensorSpec(specs.get(index).name(), type, shape);
      specs.set(index, spec);
      data.set(index, arena.allocate(spec.byteSize()));
    }

    Path write(Path directory, String file, String config) throws IOException {
      Files.createDirectories(directory);
      Files.writeString(directory.resolve("config.json"), "{}");
      Files.writeString(directory.resolve(file), config);
      try (var writer = SafetensorsWriter.create(directory.resolve("model.safetensors"), specs)) {
        for (int i = 0; i < specs.size(); i++) {
          writer.put(specs.get(i).name(), data.get(i));
        }
        writer.finish();
      }
      return directory;
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16", "F32"})
  void scalesOfEveryFloatTypeAreRead(DataType scaleType) throws IOException {
    try (var arena = Arena.ofConfined()) {
      var module = new Module(arena, scaleType);
      Path directory = module.write(temp.resolve("m"), "quantize_config.json", CONFIG);
      try (var model = ModelDirectory.open(directory, engine)) {
        assertThat(model.rows("m")).isEqualTo(N);
        assertThat(model.columns("m")).isEqualTo(K);
        var got = (QuantizedWeight) model.linear(arena, "m");
        assertThat(got.codes().mismatch(module.weight.codes())).isEqualTo(-1);
        assertThat(got.zeros().mismatch(module.weight.zeros())).isEqualTo(-1);
        assertThat(got.scales().mismatch(module.weight.scales())).isEqualTo(-1);
        assertThat(got.gIdx()).isNull();
      }
    }
  }

  @Test
  void theOldConfigOfAutoAwqIsUnderstood() throws IOException {
    try (var arena = Arena.ofConfined()) {
      var module = new Module(arena, DataType.F16);
      Path directory =
          module.write(
              temp.resolve("m"),
              "quant_config.json",
              "{\"zero_point\":true,\"q_group_size\":32,\"w_bit\":4,\"version\":\"GEMM\"}");
      try (var model = ModelDirectory.open(directory, engine)) {
        var got = (QuantizedWeight) model.linear(arena, "m");
        assertThat(got.codes().mismatch(module.weight.codes())).isEqualTo(-1);
        assertThat(ModelSize.of(model).parameters()).isEqualTo(N * K);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, I32, '64, 4', 'm.scales'",
    "0, I32, '63, 3', 'does not fit'",
    "0, I32, '64, 0', ''",
    "0, I32, '192', 'shape'",
    "0, I64, '64, 3', 'dtype'",
    "1, I32, '3, 3', 'm.qzeros'",
    "1, I16, '2, 6', 'm.qzeros'",
    "2, F16, '4, 24', 'does not fit'",
    "2, F64, '2, 24', 'm.scales'",
  })
  void partsThatContradictEachOtherAreRefused(int part, DType type, String shape, String named)
      throws IOException {
    try (var arena = Arena.ofConfined()) {
      var module = new Module(arena, DataType.F16);
      long[] dims = java.util.Arrays.stream(shape.split(", ")).mapToLong(Long::parseLong).toArray();
      module.replace(part, type, dims);
      Path directory = module.write(temp.resolve("m"), "quantize_config.json", CONFIG);
      try (var model = ModelDirectory.open(directory, engine)) {
        assertThatThrownBy(() -> model.linear(arena, "m"))
            .isInstanceOf(BadModelException.class)
            .hasMessageContaining(named);
      }
    }
  }

  @Test
  void groupsThatDoNotDivideTheRowAndOtherWidthsAreRefused() throws IOException {
    try (var arena = Arena.ofConfined()) {
      var module = new Module(arena, DataType.F16);
      Path short48 =
          module.write(temp.resolve("48"), "quantize_config.json", CONFIG.replace("32", "48"));
      try (var model = ModelDirectory.open(short48, engine)) {
        assertThatThrownBy(() -> model.linear(arena, "m"))
            .isInstanceOf(BadModelException.class)
            .hasMessageContaining("group_size 48");
      }
      Path eight =
          module.write(
              temp.resolve("8"),
              "quantize_config.json",
              CONFIG.replace("\"bits\":4", "\"bits\":4,\"dynamic\":{\"m\":{\"bits\":8}}"));
      try (var model = ModelDirectory.open(eight, engine)) {
        assertThatThrownBy(() -> model.linear(arena, "m"))
            .isInstanceOf(UnsupportedModelException.class)
            .hasMessageContaining("8 bits");
      }
    }
  }
}
