package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.GptqConfig;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ReferenceDecoders;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.json.JsonFile;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Method qqq: smoothing, GPTQ, and the two levels of scales of its layout. */
class QqqJobTest {
  private static final TinyModel TINY = new TinyModel(128, 256, 2, false);

  private static Engine engine;
  @TempDir static Path temp;
  private static Path model;

  @BeforeAll
  static void write() throws IOException {
    engine = Engine.open();
    model = TINY.write(temp.resolve("model"));
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static QuantizeConfig.Builder builder(long groupSize) {
    return QuantizeConfig.builder().method(Method.QQQ).groupSize(groupSize);
  }

  private static QuantizeJob job(ModelDirectory source, QuantizeConfig config, String output) {
    return QuantizeJob.of(source, config, engine, temp.resolve(output))
        .calibration(GptqJobTest.calibration(source, 1));
  }

  private static QuantizeResult run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      return job(source, config, output).run();
    }
  }

  @Test
  void theDefaultsAreThoseOfTheMethod() {
    var config = builder(128).build();
    assertThat(config.format()).isEqualTo(Format.QQQ);
    assertThat(config.descAct()).isFalse();
    assertThat(config.gptq().dampPercent()).isEqualTo(.005);
    assertThat(config.gptq().dampAutoIncrement()).isEqualTo(.001);
    var groups = config.gptqOptions("m", DataType.F16);
    assertThat(groups.staticGroups()).isFalse();
    assertThat(groups.actGroupAware()).isTrue();
    assertThat(groups.narrow()).isFalse();
    assertThat(builder(-1).build().gptqOptions("m", DataType.F32).narrow()).isTrue();
    for (long groupSize :
        new long[] {128, -1}) { // which stay where they are, the layout having no g_idx
      var ordered = builder(groupSize).descAct(true).build().gptqOptions("m", DataType.F32);
      assertThat(ordered.staticGroups()).isEqualTo(groupSize > 0);
    }
  }

  @ParameterizedTest
  @CsvSource({"128, q128", "-1, q-rows"})
  void theCheckpointNamesItselfAndDecodersReadTheSameWeights(long groupSize, String output)
      throws Exception {
    var result = run(builder(groupSize).build(), output);
    assertThat(result.modules()).hasSize(14).allMatch(m -> m.damp() >= .005 && m.samples() > 0);
    var json = JsonFile.read(temp.resolve(output).resolve("quantize_config.json"));
    for (String key : List.of("method", "quant_method", "format", "checkpoint_format")) {
      assertThat(json.get(key).asText()).isEqualTo("qqq");
    }
    assertThat(json.get("desc_act").asBoolean()).isFalse();
    assertThat(json.at("/meta/algorithm").asText()).isEqualTo("qqq");
    assertThat(json.at("/meta/alpha").asDouble()).isEqualTo(.5);
    ReferenceDecoders.decode(List.of(temp.resolve(output)));
    ReferenceDecoders.assertSameWeights(engine, temp.resolve(output));
  }

  /** Where the range is not narrowed to what loses least, the scale of a row is max|w| / 7. */
  @Test
  void wholeRowsHaveAsManyCodesBelowZeroAsAbove() {
    var wholeRange = GptqConfig.QQQ.withRefreshGroups(false);
    run(builder(-1).smooth(false).gptq(wholeRange).build(), "q-narrow");
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("q-narrow"), engine);
        var arena = Arena.ofConfined()) {
      String first = TINY.linears().getFirst();
      Tensor w = source.tensor(first + ".weight");
      var q = (QuantizedWeight) made.linear(arena, first);
      for (long n = 0; n < q.n(); n++) {
        float most = 0;
        for (long k = 0; k < q.k(); k++) {
          most = Math.max(most, Math.abs(w.getFloat(n, k)));
          assertThat(q.codes().get(ValueLayout.JAVA_BYTE, n * q.k() + k))
              .isBetween((byte) 1, (byte) 15);
        }
        assertThat(q.scales().getAtIndex(ValueLayout.JAVA_FLOAT, n)).isEqualTo(2 * most / 14);
      }
    }
  }

  /** Without quantizing, a smoothed model computes what it did: norms and linears agree. */
  @Test
  void smoothingDividesNormsAndTheLinearsThatFeedOthers() {
    try (var source = ModelDirectory.open(model, engine);
        var arena = Arena.ofConfined()) {
      var config = builder(128).build();
      var scales =
          ActivationScales.collect(
              source, GptqJobTest.calibration(source, 1), engine.ops(), Optional.empty());
      var folded = new FoldedWeights(source, engine.ops(), arena);
      var layer = QuantizePlan.of(source, config).layers().getFirst();
      new Smoothing(source.config(), scales, .5, true).fold(layer, folded);
      String mlp = "model.layers.0.mlp.";
      Tensor up = source.tensor(mlp + "up_proj.weight");
      Tensor down = source.tensor(mlp + "down_proj.weight");
      Tensor norm = source.tensor("model.layers.0.post_attention_layernorm.weight");
      Tensor newNorm =
          folded.vector("model.layers.0.post_attention_layernorm.weight").orElseThrow();
      for (int k = 0; k < 256; k += 17) {
        float s = folded.matrix(mlp + "down_proj").getFloat(3, k) / down.getFloat(3, k);
        float t = newNorm.reshape(1, 128).getFloat(0, 5) / norm.reshape(1, 128).getFloat(0, 5);
        float expected = up.getFloat(k, 5) / s / t;
        assertThat(folded.matrix(mlp + "up_proj").getFloat(k, 5))
            .isCloseTo(expected, org.assertj.core.data.Percentage.withPercentage(.01));
        assertThat(s).isNotEqualTo(1);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {128, -1})
  void anInterruptedJobEndsByteEqual(long groupSize) throws IOException {
    var config = builder(groupSize).build();
    run(config, "whole" + groupSize);
    var cancel = new Cancel();
    var listener =
        new QuantizeListener() {
          @Override
          public void layerFinished(int number, Progress progress) {
            cancel.raise();
          }
        };
    try (var source = ModelDirectory.open(model, engine)) {
      var job = job(source, config, "cut" + groupSize).cancel(cancel).listener(listener);
      assertThatThrownBy(job::run).isInstanceOf(CancelledException.class);
    }
    run(config, "cut" + groupSize);
    assertThat(QuantizeJobTest.contents(temp.resolve("cut" + groupSize)))
        .isEqualTo(QuantizeJobTest.contents(temp.resolve("whole" + groupSize)));
  }

  @Test
  void aFileOfActivationScalesGivesTheSameWeights() throws IOException {
    run(builder(128).build(), "own");
    Path file = temp.resolve("scales.safetensors");
    try (var source = ModelDirectory.open(model, engine)) {
      ActivationScales.collect(
              source, GptqJobTest.calibration(source, 1), engine.ops(), Optional.empty())
          .write(file);
      var scales = ActivationScales.read(file);
      assertThat(scales.modules()).containsExactlyInAnyOrderElementsOf(TINY.linears());
      job(source, builder(128).build(), "given").activationScales(scales).run();
      var none =
          QuantizeJob.of(source, builder(128).build(), engine, temp.resolve("none"))
              .activationScales(scales);
      assertThatThrownBy(none::run).hasMessageContaining("method qqq needs calibration data");
    }
    assertThat(temp.resolve("given/model.safetensors"))
        .hasSameBinaryContentAs(temp.resolve("own/model.safetensors"));
  }

  @Test
  void whatTheLayoutCannotHoldIsRefusedByName() {
    assertThatThrownBy(() -> builder(128).format(Format.GPTQ).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("method qqq writes format qqq");
    assertThatThrownBy(() -> builder(64).build()).hasMessageContaining("not 64");
    assertThatThrownBy(() -> builder(128).bits(8).build()).hasMessageContaining("4 bits, not 8");
    assertThatThrownBy(() -> builder(128).sym(false).build()).hasMessageContaining("zero points");
    var dynamic = JsonFile.object();
    dynamic.putObject(".*down_proj").put("group_size", 32);
    try (var source = ModelDirectory.open(model, engine)) {
      assertThatThrownBy(() -> QuantizePlan.of(source, builder(128).dynamic(dynamic).build()))
          .hasMessageContainingAll("model.layers.0.mlp.down_proj", "not 32");
    }
  }

  @Test
  void modulesThatDoNotFitAreNamedAndCanBeLeftInFloat() throws IOException {
    Path odd = new TinyModel(64, 256, 1, false).write(temp.resolve("odd"));
    try (var source = ModelDirectory.open(odd, engine)) {
      assertThatThrownBy(() -> QuantizePlan.of(source, builder(-1).build()))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContainingAll(
              "model.layers.0.self_attn.q_proj [64, 64] and 3 more",
              "format qqq",
              "multiples of 128",
              "\"-:.*(q_proj|k_proj|v_proj|o_proj)\"");
      var dynamic = JsonFile.object();
      dynamic.putObject("-:.*(q_proj|k_proj|v_proj|o_proj)");
      var plan = QuantizePlan.of(source, builder(-1).dynamic(dynamic).build());
      assertThat(plan.modules()).hasSize(3);
    }
  }
}
