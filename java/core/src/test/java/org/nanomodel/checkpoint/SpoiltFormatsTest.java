package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.BadModelException;
import org.nanomodel.SharedData;
import org.nanomodel.ops.Engine;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;

/** Modules of every format with one thing wrong, refused in one line that names file and tensor. */
class SpoiltFormatsTest {
  private static final String MODULE = "model.layers.0.self_attn.q_proj";
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

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gptqmodel/awq_gemv",
        "gptqmodel/awq_gemv_fast",
        "gptqmodel/qqq_channel",
        "gptqmodel/qqq_g128",
        "formats/marlin_g128",
        "formats/ct_int4_asym_g64",
        "formats/ct_int8_sym_channel",
        "formats/ct_w8a8",
        "formats/mlx_4bit_g64"
      })
  void aModuleWithOneTensorWrongIsRefused(String name) throws IOException {
    Path golden = SharedData.require("golden/" + name);
    try (var model = ModelDirectory.open(golden, engine)) {
      var parts = model.tensors().stream().filter(t -> t.name().startsWith(MODULE + ".")).toList();
      assertThat(parts).hasSizeGreaterThan(1);
      for (TensorInfo part : parts) {
        boolean codes = part.name().matches(".*\\.(B|weight)");
        if (!codes || !name.matches(".*(channel|w8a8)")) { // with a scale a row, only they say K
          long[] shape = part.shape();
          shape[0] = shape[0] == 1 ? 2 : shape[0] - 1;
          refused(model, parts, part.name(), new TensorSpec(part.name(), part.dtype(), shape));
          shape = part.shape();
          shape[shape.length - 1]++;
          refused(model, parts, part.name(), new TensorSpec(part.name(), part.dtype(), shape));
        }
        refused(model, parts, part.name(), new TensorSpec(part.name(), DType.F64, part.shape()));
        refused(model, parts, part.name(), null);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gptqmodel/awq_gemv:scales",
        "gptqmodel/awq_gemv_fast:scales",
        "gptqmodel/awq_gemv_fast:qzeros",
        "gptqmodel/qqq_g128:s_group",
        "gptqmodel/qqq_channel:s_channel",
        "formats/marlin_g128:s",
        "formats/ct_w8a8:weight_scale",
        "formats/mlx_3bit_g32:scales",
        "formats/mlx_3bit_g32:biases"
      })
  void aScaleThatIsNoNumberIsRefused(String name) throws IOException {
    String[] at = name.split(":");
    try (var model = ModelDirectory.open(SharedData.require("golden/" + at[0]), engine)) {
      var parts = model.tensors().stream().filter(t -> t.name().startsWith(MODULE + ".")).toList();
      String tensor = MODULE + "." + at[1];
      var info = model.find(tensor).orElseThrow();
      var content = new byte[(int) info.byteSize()];
      MemorySegment.ofArray(content).copyFrom(model.bytes(tensor));
      Arrays.fill(content, 0, info.dtype().bits() / 8, (byte) 0xff); // a NaN in every float type
      var spec = new TensorSpec(tensor, info.dtype(), info.shape());
      assertRefused(write(model, parts, tensor, spec, content), tensor);
    }
  }

  private void refused(
      ModelDirectory model, List<TensorInfo> parts, String spoilt, TensorSpec instead)
      throws IOException {
    byte[] zeros = instead == null ? null : new byte[(int) instead.byteSize()];
    assertRefused(write(model, parts, spoilt, instead, zeros), MODULE + ".");
  }

  private static void assertRefused(Path directory, String tensor) {
    try (var bad = ModelDirectory.open(directory, engine);
        var arena = Arena.ofConfined()) {
      assertThatThrownBy(() -> bad.linear(arena, MODULE))
          .isInstanceOf(BadModelException.class)
          .hasMessageContainingAll(directory.toString(), tensor)
          .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
    }
  }

  /** The module alone, with another tensor in the place of one, or nothing. */
  private Path write(
      ModelDirectory model,
      List<TensorInfo> parts,
      String spoilt,
      TensorSpec instead,
      byte[] content)
      throws IOException {
    Path directory = Files.createTempDirectory(temp, "m");
    for (String file : List.of("config.json", "quantize_config.json")) {
      if (Files.exists(model.path().resolve(file))) {
        Files.copy(model.path().resolve(file), directory.resolve(file));
      }
    }
    Map<TensorSpec, MemorySegment> tensors = new LinkedHashMap<>();
    for (TensorInfo part : parts) {
      if (!part.name().equals(spoilt)) {
        tensors.put(
            new TensorSpec(part.name(), part.dtype(), part.shape()), model.bytes(part.name()));
      } else if (instead != null) {
        tensors.put(instead, MemorySegment.ofArray(content));
      }
    }
    var specs = List.copyOf(tensors.keySet());
    try (var writer = SafetensorsWriter.create(directory.resolve("model.safetensors"), specs)) {
      for (var tensor : tensors.entrySet()) {
        writer.put(tensor.getKey().name(), tensor.getValue());
      }
      writer.finish();
    }
    return directory;
  }
}
