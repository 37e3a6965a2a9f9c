package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.Generator;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Small random models against what transformers computes for them in float32 (shared/golden/archs).
 */
class GoldenModelTest {
  /**
   * Of the logits, absolute; transformers itself differs by up to 2e-5 between float32 and float64.
   */
  private static final float TOLERANCE = 1e-4f;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt2",
        "llama",
        "llama_oldcfg",
        "llama_rope3_tied",
        "llama_sharded",
        "mistral",
        "opt_pre",
        "qwen2",
        "qwen3",
        "qwen3_oldcfg"
      })
  void logitsHiddenStatesAndGreedyTextAreThoseOfTransformers(String name, TestReporter reporter) {
    check(name, SharedData.require("golden/archs/" + name), reporter);
  }

  /** Variants that those have not: made by {@code graphs/make.py}. */
  @ParameterizedTest
  @ValueSource(strings = {"gpt2_scaled", "opt_post"})
  void soAreThoseOfVariants(String name, TestReporter reporter) {
    Path graphs = SharedData.root().resolve("java/core/src/test/resources/graphs");
    check(name, graphs.resolve(name), reporter);
  }

  private static void check(String name, Path dir, TestReporter reporter) {
    try (var expected = SafetensorsFile.open(dir.resolve("expected.safetensors"));
        var checkpoint = ModelDirectory.open(dir)) {
      Config config = Config.load(dir);
      for (String tier : Engine.cpu().tiers()) {
        try (var engine = Engine.open(EngineOptions.defaults().withTier(tier));
            var model = CausalModel.load(engine, config, checkpoint)) {
          check(name + " on " + tier, model, expected, reporter);
        }
      }
    }
  }

  private static void check(
      String name, CausalModel model, SafetensorsFile expected, TestReporter reporter) {
    Tensor ids = read(expected, "input_ids");
    Tensor logits = read(expected, "logits");
    int rows = (int) ids.rows();
    int tokens = (int) ids.cols();
    var states = new ArrayList<List<float[]>>();
    try (var cache = model.newCache(64)) {
      Batch batch = model.newBatch(1, tokens);
      for (int r = 0; r < rows; r++) {
        var seen = new ArrayList<float[]>();
        try (var sequence = cache.newSequence()) {
          batch.clear().add(sequence, ids.toInts(), r * tokens, tokens, Batch.Logits.ALL);
          Tensor got =
              model.forward(model.engine().ops(), batch, (layer, x) -> seen.add(x.toFloats()));
          float[] want = logits.rows(r, 1).toFloats();
          float difference = difference(got.toFloats(), want);
          reporter.publishEntry(name + ", row " + r, "logits differ by " + difference);
          assertThat(difference).as("logits of %s, row %d", name, r).isLessThan(TOLERANCE);
        }
        states.add(seen);
      }
    }
    checkStates(name, expected, states);
    checkGreedy(name, model, expected);
  }

  /** hidden_states_0 is the embedding, hidden_states_1 the output of the first block. */
  private static void checkStates(
      String name, SafetensorsFile expected, List<List<float[]>> states) {
    for (int layer = 0; layer < 2; layer++) {
      Tensor want = read(expected, "hidden_states_" + layer);
      for (int r = 0; r < states.size(); r++) {
        assertThat(difference(states.get(r).get(layer), want.rows(r, 1).toFloats()))
            .as("hidden states %d of %s, row %d", layer, name, r)
            .isLessThan(TOLERANCE);
      }
    }
  }

  private static void checkGreedy(String name, CausalModel model, SafetensorsFile expected) {
    int[] prompt = read(expected, "greedy_prompt").toInts();
    int[] want = read(expected, "greedy_ids").toInts();
    int n = 0;
    while (n < want.length && (n == 0 || !model.config().eosIds().contains(want[n - 1]))) {
      n++;
    }
    var options = GenerateOptions.builder().maxTokens(want.length).build();
    int[] got = new Generator(model).generate(prompt, options).idArray();
    assertThat(got).as("greedy ids of %s", name).isEqualTo(java.util.Arrays.copyOf(want, n));
  }

  private static Tensor read(SafetensorsFile file, String name) {
    var info = file.tensor(name);
    return Tensor.of(
        DataType.ofName(info.dtype().name()).orElseThrow(), file.segment(name), info.shape());
  }

  private static float difference(float[] a, float[] b) {
    assertThat(a).hasSameSizeAs(b);
    float max = 0;
    for (int i = 0; i < a.length; i++) {
      float d = Math.abs(a[i] - b[i]);
      max = d > max || Float.isNaN(d) ? d : max;
      if (Float.isNaN(max)) {
        return max;
      }
    }
    return max;
  }
}
