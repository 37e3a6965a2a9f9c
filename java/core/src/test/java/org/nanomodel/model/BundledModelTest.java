package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.Generator;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;

/**
 * The trained model that comes with the repository, against its golden.json (transformers,
 * float32).
 */
class BundledModelTest {
  private static final Path DIR = SharedData.root().resolve("data/models/stories-qwen3");

  @Test
  void logitsAndStoriesAreThoseOfTransformersOnEveryTier() throws Exception {
    var json = new ObjectMapper();
    JsonNode golden = json.readTree(DIR.resolve("golden.json").toFile());
    Config config = Config.load(DIR);
    try (var checkpoint = ModelDirectory.open(DIR)) {
      for (String tier : Engine.cpu().tiers()) {
        try (var engine = Engine.open(EngineOptions.defaults().withTier(tier));
            var model = CausalModel.load(engine, config, checkpoint)) {
          for (JsonNode prompt : golden.get("prompts")) {
            check(tier, model, prompt, json);
          }
        }
      }
    }
  }

  private static void check(String tier, CausalModel model, JsonNode prompt, ObjectMapper json) {
    int[] ids = json.convertValue(prompt.get("ids"), int[].class);
    int[] top = json.convertValue(prompt.get("top10").get("ids"), int[].class);
    float[] values = json.convertValue(prompt.get("top10").get("values"), float[].class);
    var last = new float[1][];
    try (var scorer = new Scorer(model, model.engine().ops(), ids.length)) {
      scorer.run(ids, (first, rows) -> last[0] = rows.rows(rows.rows() - 1, 1).toFloats());
    }
    for (int i = 0; i < top.length; i++) {
      // logits of up to 20: five units of the sixth digit, as for the small random models
      assertThat(last[0][top[i]])
          .as("logit %d on %s", top[i], tier)
          .isCloseTo(values[i], within(1e-4f));
    }
    int[] want = json.convertValue(prompt.get("greedy"), int[].class);
    var options = GenerateOptions.builder().maxTokens(want.length).ignoreEnd(true).build();
    assertThat(new Generator(model).generate(ids, options).idArray())
        .as("story on %s", tier)
        .isEqualTo(want);
  }
}
