package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Engine;
import org.nanomodel.tensor.Tensor;

/** Scales that are folded into their sources change no logit; where they cannot be, none are. */
class ScaleFoldTest {
  private static Engine engine;

  @TempDir Path temp;

  @BeforeAll
  static void openEngine() {
    engine = Engine.open();
  }

  @AfterAll
  static void closeEngine() {
    engine.close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"gpt2", "llama", "llama_rope3_tied", "mistral", "opt_pre", "qwen2", "qwen3"})
  void foldingLeavesTheLogitsUnchanged(String name) {
    unchanged(SharedData.require("golden/archs/" + name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2_scaled", "opt_post"})
  void soItDoesForVariants(String name) {
    unchanged(SharedData.root().resolve("java/core/src/test/resources/graphs/" + name));
  }

  @Test
  void soItDoesWhereHeadsOfValuesAreShared() throws IOException {
    unchanged(new TinyModel(64, 96, 2, false).write(temp));
  }

  private static void unchanged(Path dir) {
    try (var source = ModelDirectory.open(dir, engine);
        var arena = Arena.ofShared()) {
      Config model = source.config();
      float[] before = logits(model, source);
      var folded = new FoldedWeights(source, engine.ops(), arena);
      int folds = 0;
      for (int layer = 0; layer < model.layers(); layer++) {
        for (var group : model.tree().groups()) {
          var fold = ScaleFold.of(model, layer, group);
          fold.ifPresent(f -> f.apply(folded, random(f)));
          folds += fold.isPresent() ? 1 : 0;
        }
      }
      assertThat(folds).isPositive();
      float[] after = logits(model, folded);
      for (int i = 0; i < before.length; i++) {
        assertThat(after[i]).as("logit %d", i).isCloseTo(before[i], within(1e-4f));
      }
    }
  }

  /** 1/4 to 4, shared as the fold wants it. */
  private static float[] random(ScaleFold fold) {
    var random = new Random(fold.source().hashCode());
    double[] drawn = random.doubles(fold.row().length, .25, 4).toArray();
    double[] shared = fold.shared(drawn);
    var s = new float[shared.length];
    for (int k = 0; k < s.length; k++) {
      s[k] = (float) shared[k];
    }
    return s;
  }

  private static float[] logits(Config config, Weights weights) {
    try (var model = CausalModel.load(engine, config, weights);
        var cache = model.newCache(32);
        var sequence = cache.newSequence()) {
      int[] ids = new Random(3).ints(20, 0, config.vocabSize()).toArray();
      var batch = model.newBatch(1, ids.length);
      batch.clear().add(sequence, ids, 0, ids.length, Batch.Logits.ALL);
      return model.forward(engine.ops(), batch, (layer, x) -> {}).toFloats();
    }
  }

  /** Where each group's scales go; "" = nowhere. */
  private static Map<String, String> folds(Config model) {
    Map<String, String> folds = new LinkedHashMap<>();
    for (var group : model.tree().groups()) {
      String prefix = model.tree().block(0) + ".";
      String source =
          ScaleFold.of(model, 0, group).map(f -> f.source().replace(prefix, "")).orElse("");
      group.modules().forEach(m -> folds.put(m, source));
    }
    return folds;
  }

  @Test
  void optFoldsIntoTheNormThatFeedsAndThroughReluAlone() throws IOException {
    Path opt = SharedData.require("golden/archs/opt_pre");
    assertThat(folds(Config.load(opt)))
        .containsEntry("self_attn.q_proj", "self_attn_layer_norm")
        .containsEntry("self_attn.out_proj", "self_attn.v_proj")
        .containsEntry("fc1", "final_layer_norm")
        .containsEntry("fc2", "fc1");
    String json = Files.readString(opt.resolve("config.json"));
    Config gelu =
        Config.parse(json.replace("\"relu\"", "\"gelu\"").getBytes(), null, "config.json");
    assertThat(folds(gelu)).containsEntry("fc2", "").containsEntry("fc1", "final_layer_norm");
  }

  @Test
  void normsAfterASumAndGeluTakeNoScales() {
    Path graphs = SharedData.root().resolve("java/core/src/test/resources/graphs");
    assertThat(folds(Config.load(graphs.resolve("opt_post"))))
        .containsEntry("self_attn.q_proj", "")
        .containsEntry("self_attn.out_proj", "self_attn.v_proj")
        .containsEntry("fc1", "");
    assertThat(folds(Config.load(graphs.resolve("gpt2_scaled"))))
        .containsEntry("attn.c_attn", "ln_1")
        .containsEntry("attn.c_proj", "attn.c_attn")
        .containsEntry("mlp.c_proj", "");
  }

  @Test
  void theScalesFollowThePapersFormula() {
    double[] x = {4, 1};
    double[] w = {.25, 1};
    float[] s = Awq.scales(x, w, .5); // 2 / .5001 and 1 / 1.0001, about their geometric mean
    double ratio = (2 / .5001) / (1 / 1.0001);
    assertThat((double) s[0]).isCloseTo(Math.sqrt(ratio), within(1e-6));
    assertThat((double) s[1]).isCloseTo(1 / Math.sqrt(ratio), within(1e-6));
  }

  @Test
  void weightMeansAreRelativeToTheLargestOfAGroup() {
    try (var arena = Arena.ofConfined()) {
      Tensor a = Tensor.ofFloats(arena, new float[] {1, -2, 3, -6, 8, 2, 1, 1}, 2, 4);
      Tensor b = Tensor.ofFloats(arena, new float[] {4, 2, 1, 0}, 1, 4);
      double[] means = Awq.weightMeans(List.of(a, b), List.of(2L, 4L));
      var expected = List.of((.5 + 1 + 1) / 3, (1 + .25 + .5) / 3, (.5 + 1 + .25) / 3, 2 / 3.);
      for (int k = 0; k < 4; k++) {
        assertThat(means[k]).isCloseTo(expected.get(k), within(1e-5));
      }
    }
  }

  @Test
  void theSearchTakesTheLeastErrorAndTheFirstOfEqualOnes() {
    double[] x = {1, 9};
    double[] w = {1, 1};
    assertThat(Awq.search(x, w, s -> 0)).containsExactly(1, 1);
    var seen = new ArrayList<float[]>();
    float[] best =
        Awq.search(
            x,
            w,
            s -> {
              seen.add(s);
              return seen.size() == 8 ? -1 : 1;
            });
    assertThat(seen).hasSize(21);
    assertThat(best).isSameAs(seen.get(7)).isEqualTo(Awq.scales(x, w, .3));
  }
}
