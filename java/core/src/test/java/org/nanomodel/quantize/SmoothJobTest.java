package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.BadModelException;
import org.nanomodel.Format;
import org.nanomodel.Method;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.ops.Engine;

class SmoothJobTest {
  private static final TinyModel TINY = new TinyModel(64, 96, 2, false);
  private static final QuantizeConfig CONFIG =
      QuantizeConfig.builder().method(Method.SMOOTHQUANT).bits(8).groupSize(-1).build();

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
    model = TINY.write(temp.resolve("model"));
  }

  @Test
  void theScalesAreThoseOfTheWorkedExample() { // FORMATS 5
    float[] s = Smoothing.scales(new float[] {2, 16, .5f, 4}, new float[] {1, .25f, .5f, 2}, .5);
    float[] expected = {1.41421f, 8, 1, 1.41421f};
    for (int k = 0; k < s.length; k++) {
      assertThat(s[k]).isCloseTo(expected[k], within(1e-5f));
    }
    assertThat(Smoothing.scales(new float[] {0}, new float[] {1}, .5)).containsExactly(1e-5f);
  }

  @Test
  void w8a8IsWrittenAsIntQuantizedWithNormsThatTookTheScales() {
    assertThat(CONFIG.format()).isEqualTo(Format.INT_QUANTIZED);
    try (var source = ModelDirectory.open(model, engine)) {
      var result =
          QuantizeJob.of(source, CONFIG, engine, temp.resolve("out"))
              .calibration(GptqJobTest.calibration(source, 1))
              .run();
      assertThat(result.modules()).hasSize(14).allMatch(m -> m.loss() < .01);
      try (var made = ModelDirectory.open(temp.resolve("out"), engine)) {
        String norm = "model.layers.1.input_layernorm.weight";
        assertThat(made.bytes(norm).mismatch(source.bytes(norm))).isNotEqualTo(-1);
        assertThat(made.quantizedModules()).hasSize(14);
      }
    }
  }

  @Test
  void aFileOfActivationScalesTakesThePlaceOfCalibration() throws IOException {
    try (var source = ModelDirectory.open(model, engine)) {
      var calibration = GptqJobTest.calibration(source, 1);
      QuantizeJob.of(source, CONFIG, engine, temp.resolve("data")).calibration(calibration).run();
      Path file = temp.resolve("scales.safetensors");
      ActivationScales.collect(source, calibration, engine.ops(), Optional.empty()).write(file);
      var scales = ActivationScales.read(file);
      var job =
          QuantizeJob.of(source, CONFIG, engine, temp.resolve("file")).activationScales(scales);
      job.run();
      assertThat(Files.mismatch(weights("data"), weights("file"))).isEqualTo(-1);
      assertThat(job.run().alreadyDone()).isTrue();
      assertThatThrownBy(() -> scales.of("model.layers.0.mlp.down_proj", 64))
          .isInstanceOf(BadModelException.class)
          .hasMessageContaining("down_proj: there are 96, expected 64");
      var none = QuantizeJob.of(source, CONFIG, engine, temp.resolve("none"));
      assertThatThrownBy(none::run).hasMessageContaining("needs calibration data");
    }
  }

  private Path weights(String output) {
    return temp.resolve(output).resolve("model.safetensors");
  }
}
