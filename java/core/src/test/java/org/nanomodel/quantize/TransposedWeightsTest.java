package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.FloatConversion;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Scorer;
import org.nanomodel.ops.Engine;
import org.nanomodel.tensor.DataType;

/** GPT-2 stores float weights [K, N]; quantized ones lie as those of any linear [N, K]. */
class TransposedWeightsTest {
  private static final Path GPT2 =
      SharedData.root().resolve("java/core/src/test/resources/graphs/gpt2_scaled");
  private static final int[] IDS = {3, 9, 22, 4, 11, 3, 17};

  @TempDir Path temp;

  @Test
  void quantizedAndConvertedBackTheModelIsNearlyTheSame() {
    try (var engine = Engine.open()) {
      float[] exact = logits(engine, GPT2);
      Path quantized = temp.resolve("int8");
      var config = QuantizeConfig.builder().bits(8).groupSize(16).build();
      try (var source = ModelDirectory.open(GPT2, engine)) {
        QuantizeJob.of(source, config, engine, quantized).run();
      }
      float[] rounded = logits(engine, quantized);
      assertThat(rounded).isNotEqualTo(exact);
      for (int i = 0; i < exact.length; i++) {
        // codes of 8 bits: 0.4 % of the largest weight of a group
        assertThat(rounded[i]).isCloseTo(exact[i], within(0.1f));
      }

      Path floats = temp.resolve("f32");
      try (var source = ModelDirectory.open(quantized, engine);
          var original = ModelDirectory.open(GPT2, engine)) {
        FloatConversion.convert(
            source, engine, DataType.F32, floats, Long.MAX_VALUE, false, () -> false);
        try (var back = ModelDirectory.open(floats, engine)) {
          String name = "transformer.h.1.mlp.c_fc.weight";
          assertThat(back.find(name).orElseThrow().shape())
              .isEqualTo(original.find(name).orElseThrow().shape())
              .containsExactly(16, 40);
        }
      }
      float[] again = logits(engine, floats);
      for (int i = 0; i < again.length; i++) {
        assertThat(again[i]).isCloseTo(rounded[i], within(1e-4f));
      }
    }
  }

  private static float[] logits(Engine engine, Path directory) {
    try (var source = ModelDirectory.open(directory, engine);
        var model = CausalModel.load(engine, source.config(), source);
        var scorer = new Scorer(model, engine.ops(), IDS.length)) {
      var all = new float[IDS.length * model.config().vocabSize()];
      scorer.run(
          IDS,
          (first, rows) ->
              System.arraycopy(
                  rows.toFloats(), 0, all, first * model.config().vocabSize(), (int) rows.count()));
      return all;
    }
  }
}
