package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.ops.Engine;
import org.nanomodel.safetensors.TensorInfo;

/** Jobs that cannot be done end with one line and leave nothing where the checkpoint would be. */
class QuantizeRefusalsTest {
  private static final QuantizeConfig CONFIG = QuantizeConfig.builder().groupSize(32).build();

  private static Engine engine;

  @TempDir Path temp;
  private Path model;

  @BeforeAll
  static void openEngine() {
    engine = Engine.open();
  }

  @AfterAll
  static void closeEngine() {
    engine.close();
  }

  @BeforeEach
  void writeModel() throws IOException {
    model = new TinyModel(64, 96, 4, false).write(temp.resolve("model"));
  }

  private QuantizeResult run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      return QuantizeJob.of(source, config, engine, temp.resolve(output)).run();
    }
  }

  @Test
  void outputsThatCannotBeAreRefusedBeforeAnyWork() throws IOException {
    Files.createDirectories(temp.resolve("full"));
    Files.writeString(temp.resolve("full/file"), "x");
    Files.createSymbolicLink(temp.resolve("link"), model);
    assertThatThrownBy(() -> run(CONFIG, "full")).hasMessageContaining("not empty");
    assertThatThrownBy(() -> run(CONFIG, "model"))
        .hasMessageContaining("is the model that is read");
    assertThatThrownBy(() -> run(CONFIG, "x/../link"))
        .hasMessageContaining("is the model that is read");
    assertThatThrownBy(() -> run(CONFIG, "full/file")).hasMessageContaining("is a file");
    Files.createDirectories(temp.resolve("empty"));
    run(CONFIG, "empty");
    assertThat(temp.resolve("empty/config.json")).exists();
    model = temp.resolve("empty");
    assertThatThrownBy(() -> run(CONFIG, "out")).hasMessageContaining("quantized already");
  }

  @Test
  void weightsThatAreNotFiniteAreRefusedByName() throws IOException {
    Path weights = model.resolve("model.safetensors");
    try (var source = ModelDirectory.open(model)) {
      TensorInfo last = source.find("model.layers.3.mlp.down_proj.weight").orElseThrow();
      long data =
          Files.size(weights)
              - source.tensors().stream().mapToLong(TensorInfo::end).max().orElseThrow();
      try (var channel = FileChannel.open(weights, StandardOpenOption.WRITE)) {
        var nan = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, Float.NaN);
        channel.write(nan, data + last.begin() + 40);
      }
    }
    assertThatThrownBy(() -> run(CONFIG, "out"))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("model.layers.3.mlp.down_proj.weight");
    assertThat(temp.resolve("out")).doesNotExist();
  }

  @Test
  void weightsBeyondFloat16ScalesAreRefused() throws IOException {
    try (var source = ModelDirectory.open(model)) {
      TensorInfo first = source.find("model.layers.0.self_attn.q_proj.weight").orElseThrow();
      Path weights = model.resolve("model.safetensors");
      long data =
          Files.size(weights)
              - source.tensors().stream().mapToLong(TensorInfo::end).max().orElseThrow();
      try (var channel = FileChannel.open(weights, StandardOpenOption.WRITE)) {
        var huge = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, 1e20f);
        channel.write(huge, data + first.begin());
      }
    }
    assertThatThrownBy(() -> run(CONFIG, "out"))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("q_proj");
  }
}
