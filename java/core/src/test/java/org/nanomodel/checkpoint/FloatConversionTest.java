package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Engine;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

class FloatConversionTest {
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

  private static ConversionResult convert(
      ModelDirectory source, DataType to, Path output, boolean overwrite) {
    return FloatConversion.convert(
        source, engine, to, output, CheckpointWriter.DEFAULT_SHARD_BYTES, overwrite, () -> false);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gptqmodel/awq_gemm",
        "gptqmodel/b3_sym",
        "gptqmodel/b4_dyn",
        "gptqmodel/b4_g32_desc",
        "gptqmodel/b4_int8_orig",
        "gptqmodel/b4_lmhead",
        "gptqmodel/b5_p",
        "gptqmodel/b8_asym_v2",
        "gptqmodel/b8_int16_orig",
        "gptqmodel/qqq_g128",
        "formats/ct_w8a8",
        "formats/mlx_4bit_g64"
      })
  void float32IsTheDequantizedWeightBitForBit(String name) {
    try (var source = ModelDirectory.open(SharedData.require("golden/" + name), engine)) {
      var result = convert(source, DataType.F32, temp.resolve("out"), false);
      assertThat(result.lossless()).isTrue();
      assertThat(result.from()).isEqualTo(source.quantization().orElseThrow().format());
      assertThat(result.to()).isEqualTo("float32");
      try (var made = ModelDirectory.open(temp.resolve("out"), engine);
          var arena = Arena.ofConfined()) {
        assertThat(made.quantization()).isEmpty();
        assertThat(made.quantizedModules()).isEmpty();
        assertThat(made.configJson().get("dtype").asText()).isEqualTo("float32");
        assertThat(made.tensors()).allSatisfy(t -> assertThat(t.dtype().name()).isEqualTo("F32"));
        for (String module : source.quantizedModules()) {
          Tensor w = source.stored(arena, module).floats(arena, engine.ops());
          assertThat(made.bytes(module + ".weight").mismatch(w.segment())).as(module).isEqualTo(-1);
        }
        for (TensorInfo tensor : source.tensors()) {
          boolean part =
              tensor.name().matches(".*\\.(qweight|qzeros|scales|g_idx|biases|B|s_.*|weight_.*)");
          assertThat(made.has(tensor.name())).as(tensor.name()).isEqualTo(!part);
        }
        CausalModel.load(engine, made.config(), made).close();
      }
    }
  }

  @Test
  void lossIsReported() throws IOException {
    Path model = new TinyModel(32, 32, 1, true).write(temp.resolve("model"));
    try (var f32 = ModelDirectory.open(model, engine)) {
      assertThat(convert(f32, DataType.F16, temp.resolve("f16"), false).lossless()).isFalse();
      assertThat(convert(f32, DataType.F32, temp.resolve("f32"), false).lossless()).isTrue();
      assertThat(f32.bytes("model.norm.weight").byteSize()).isEqualTo(128);
    }
    try (var f16 = ModelDirectory.open(temp.resolve("f16"), engine)) {
      assertThat(f16.configJson().get("torch_dtype").asText()).isEqualTo("float16");
      assertThat(f16.configJson().has("a_field_of_tomorrow")).isTrue();
      assertThat(convert(f16, DataType.F32, temp.resolve("back"), false).lossless()).isTrue();
      assertThat(convert(f16, DataType.BF16, temp.resolve("bf16"), false).lossless()).isFalse();
      assertThat(f16.bytes("model.norm.weight").byteSize()).isEqualTo(64);
    }
  }

  @Test
  void anOutputInUseIsRefusedAndACancelledOneLeavesNothing() throws IOException {
    Path model = new TinyModel(32, 32, 1, true).write(temp.resolve("model"));
    try (var source = ModelDirectory.open(model, engine)) {
      assertThatThrownBy(() -> convert(source, DataType.F16, model, true))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("is the model that is read");
      convert(source, DataType.F16, temp.resolve("out"), false);
      assertThatThrownBy(() -> convert(source, DataType.F32, temp.resolve("out"), false))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("not empty");
      convert(source, DataType.F32, temp.resolve("out"), true);
      assertThatThrownBy(() ->
              FloatConversion.convert(
                  source, engine, DataType.F16, temp.resolve("never"), 1 << 20, false, () -> true))
          .isInstanceOf(CancelledException.class);
    }
    try (var files = Files.list(temp)) {
      assertThat(files.map(f -> f.getFileName().toString()))
          .containsExactlyInAnyOrder("model", "out");
    }
  }
}
