package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.CancelledException;
import org.nanomodel.GptqConfig;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.json.JsonFile;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;

class GptaqJobTest {
  private static final QuantizeConfig CONFIG = config(Method.GPTAQ, Gptq.ALPHA);

  private static Engine engine;

  @TempDir Path temp;
  private Path model;

  private static QuantizeConfig config(Method method, double alpha) {
    return QuantizeConfig.builder()
        .method(method)
        .bits(3)
        .groupSize(32)
        .lmHead(true)
        .gptq(GptqConfig.DEFAULT.withGptaqAlpha(alpha))
        .build();
  }

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
    model = new TinyModel(64, 96, 3, false).write(temp.resolve("model"));
  }

  private QuantizeJob job(ModelDirectory source, QuantizeConfig config, String output) {
    return QuantizeJob.of(source, config, engine, temp.resolve(output))
        .calibration(GptqJobTest.calibration(source, 1));
  }

  private void run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      job(source, config, output).run();
    }
  }

  /** The hidden states of the calibration texts after all blocks. */
  private List<float[]> outputs(Path weights) {
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(weights, engine);
        var stage =
            new BlockStage(
                engine.ops(),
                source.config(),
                TextChunks.of(GptqJobTest.calibration(source, 1)),
                Optional.empty());
        var states = stage.embed(source)) {
      for (int layer = 0; layer < source.config().layers(); layer++) {
        try (var block =
            source.config().family().blocks().load(engine, source.config(), made, layer)) {
          for (var chunk : stage.chunks()) {
            stage.run(stage.ops(Map.of()), block, states.of(chunk), chunk.lengths());
          }
        }
      }
      var outputs = new ArrayList<float[]>();
      stage.chunks().forEach(chunk -> outputs.add(states.of(chunk).toFloats()));
      return outputs;
    }
  }

  private double errorOf(String output) {
    List<float[]> exact = outputs(model);
    List<float[]> coded = outputs(temp.resolve(output));
    double error = 0;
    for (int c = 0; c < exact.size(); c++) {
      for (int i = 0; i < exact.get(c).length; i++) {
        double d = exact.get(c)[i] - coded.get(c)[i];
        error += d * d;
      }
    }
    return error;
  }

  @Test
  void whatLayersBeforeHaveChangedIsMadeUpFor() {
    run(CONFIG, "gptaq");
    run(config(Method.GPTQ, Gptq.ALPHA), "gptq");
    assertThat(errorOf("gptaq")).isLessThan(0.97 * errorOf("gptq"));
  }

  @Test
  void withoutItsTermItIsGptq() throws IOException {
    run(config(Method.GPTAQ, 0), "gptaq");
    run(config(Method.GPTQ, Gptq.ALPHA), "gptq");
    Path name = Path.of("model.safetensors");
    assertThat(
            Files.mismatch(temp.resolve("gptaq").resolve(name), temp.resolve("gptq").resolve(name)))
        .isEqualTo(-1);
  }

  @Test
  void theHeadIsToldOfTheFloatPathToo() {
    run(CONFIG, "quarter");
    run(config(Method.GPTAQ, 1), "whole");
    try (var quarter = ModelDirectory.open(temp.resolve("quarter"), engine);
        var whole = ModelDirectory.open(temp.resolve("whole"), engine);
        var arena = Arena.ofConfined()) {
      for (String module : List.of("model.layers.0.self_attn.q_proj", "lm_head")) {
        var a = (QuantizedWeight) quarter.linear(arena, module);
        var b = (QuantizedWeight) whole.linear(arena, module);
        boolean first = module.contains("q_proj"); // whose inputs are those of the float path
        assertThat(a.codes().mismatch(b.codes()) == -1).isEqualTo(first);
      }
    }
  }

  @Test
  void anInterruptedJobGoesOnAndEndsByteEqual() throws IOException {
    run(CONFIG, "whole");
    for (int layer = 0; layer < 3; layer++) {
      interruptAfter(layer);
    }
    run(CONFIG, "out");
    assertThat(QuantizeJobTest.contents(temp.resolve("out")))
        .isEqualTo(QuantizeJobTest.contents(temp.resolve("whole")));
  }

  private void interruptAfter(int layer) {
    var cancel = new Cancel();
    var listener =
        new QuantizeListener() {
          @Override
          public void layerFinished(int number, Progress progress) {
            if (number == layer) {
              cancel.raise();
            }
          }
        };
    try (var source = ModelDirectory.open(model, engine)) {
      var job = job(source, CONFIG, "out").cancel(cancel).listener(listener);
      assertThatThrownBy(job::run).isInstanceOf(CancelledException.class);
    }
  }

  @Test
  void rowsMayRunInAnyNumberAtOnce() {
    run(CONFIG, "five");
    try (var source = ModelDirectory.open(model, engine)) {
      var rows = TextData.ofIds("rows", GptqJobTest.calibration(source, 1).rows(), DataOptions.ALL);
      var one =
          Calibration.of(
              rows, Optional.empty(), source.config(), CalibrationOptions.DEFAULT.withBatchSize(1));
      job(source, CONFIG, "one").calibration(one).offloadToDisk(null).run();
    }
    assertThat(errorOf("one") / errorOf("five")).isBetween(0.98, 1.02);
  }

  @Test
  void theCheckpointSaysSoAndOtherProgramsReadItAsGptq() throws IOException {
    run(CONFIG, "out");
    var json = JsonFile.read(temp.resolve("out/quantize_config.json"));
    assertThat(json.path("quant_method").asText()).isEqualTo("gptq");
    assertThat(json.path("meta").path("gptaq").asBoolean()).isTrue();
    assertThat(json.path("meta").path("gptaq_alpha").asDouble()).isEqualTo(.25);
  }

  @Test
  void whatItCannotDoIsRefused() {
    var atOnce = GptqConfig.DEFAULT.withTrueSequential(false);
    assertThatThrownBy(() -> QuantizeConfig.builder().method(Method.GPTAQ).gptq(atOnce).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("true_sequential");
    assertThatThrownBy(() -> GptqConfig.DEFAULT.withGptaqAlpha(1.5))
        .hasMessageContaining("gptaq_alpha 1.5");
  }
}
