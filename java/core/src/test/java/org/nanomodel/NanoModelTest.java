package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.quantize.QuantizeListener;

class NanoModelTest {
  private static final int[] PROMPT = {3, 14, 15, 9, 26};
  private static final GenerateOptions EIGHT =
      GenerateOptions.builder().maxTokens(8).ignoreEnd(true).build();

  @TempDir Path temp;

  private Path tiny() throws IOException {
    return new TinyModel(64, 96, 2, false).write(temp.resolve("model"));
  }

  @Test
  void isQuantizedSavedLoadedAndRunsTheSame() throws IOException {
    Path model = tiny();
    List<Integer> ids;
    float[] logits;
    try (var quantized =
        AutoNanoModel.load(model, QuantizeConfig.builder().bits(8).groupSize(32).build())) {
      float[] before = quantized.logits(PROMPT).toFloats();
      var result = quantized.quantize();
      assertThat(result.modules()).hasSize(14);
      logits = quantized.logits(PROMPT).toFloats();
      assertThat(logits).isNotEqualTo(before).hasSameSizeAs(before);
      ids = quantized.generate(PROMPT, EIGHT).ids();
      quantized.save(temp.resolve("saved"));
      assertThatThrownBy(() -> quantized.save(temp.resolve("saved")))
          .hasMessageContaining("not empty");
      assertThatThrownBy(quantized::quantize).hasMessageContaining("quantized already");
    }
    try (var loaded = AutoNanoModel.load(temp.resolve("saved"))) {
      assertThat(loaded.logits(PROMPT).toFloats()).isEqualTo(logits);
      assertThat(loaded.generate(PROMPT, EIGHT).ids()).isEqualTo(ids).hasSize(8);
      assertThat(loaded.directory().quantization()).isPresent();
      assertThat(loaded.tokenizer()).isEmpty();
      assertThatThrownBy(() -> loaded.generate("text")).hasMessageContaining("no tokenizer.json");
    }
  }

  @Test
  void workingFilesGoWithTheModel() throws IOException {
    Path work = temp.resolve("work");
    String before = System.setProperty("nanomodel.work", work.toString());
    try (var model = AutoNanoModel.load(tiny(), QuantizeConfig.builder().groupSize(32).build())) {
      model.quantize(null);
      assertThat(work).isNotEmptyDirectory();
    } finally {
      if (before == null) {
        System.clearProperty("nanomodel.work");
      } else {
        System.setProperty("nanomodel.work", before);
      }
    }
    assertThat(work).isEmptyDirectory();
  }

  @Test
  void quantizesStraightIntoTheOutput() throws IOException {
    try (var model = AutoNanoModel.load(tiny(), QuantizeConfig.builder().groupSize(32).build())) {
      assertThatThrownBy(() -> model.save(temp.resolve("early")))
          .hasMessageContaining("not quantized yet");
      model.quantize(null, temp.resolve("out"), QuantizeListener.NONE);
      assertThat(model.directory().path()).isEqualTo(temp.resolve("out"));
      assertThat(model.generate(PROMPT, EIGHT).ids()).hasSize(8);
    }
    assertThat(temp.resolve("out/config.json")).exists();
    try (var model = AutoNanoModel.load(temp.resolve("model"))) {
      assertThatThrownBy(model::quantize).hasMessageContaining("without a QuantizeConfig");
    }
  }

  @Test
  void measuresPerplexity() throws IOException {
    try (var model = AutoNanoModel.load(tiny())) {
      var data =
          TextData.ofIds("ids", List.of(new int[] {1, 2, 3, 4, 5, 6, 7, 8}), DataOptions.ALL);
      var result = model.perplexity(data, PerplexityOptions.rows());
      assertThat(result.tokens()).isEqualTo(7);
      assertThat(result.ppl()).isBetween(1.0, 10.0 * TinyModel.VOCAB);
    }
  }

  @Test
  void useAfterCloseIsRefused() throws IOException {
    var model = AutoNanoModel.load(tiny());
    model.close();
    model.close();
    assertThatThrownBy(() -> model.logits(PROMPT)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> model.generate(PROMPT, EIGHT))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> model.save(temp.resolve("x")))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(model::config).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void anUnknownNameIsRefused() {
    assertThatThrownBy(() -> AutoNanoModel.load("no-such-model"))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("no-such-model");
  }

  @Test
  void theBundledModelIsFoundByNameAndTellsAStory() {
    Path bundled = SharedData.root().resolve("data/models/stories-qwen3");
    org.junit.jupiter.api.Assumptions.assumeTrue(
        Files.exists(bundled), "skipped: the bundled model is absent");
    try (var model = AutoNanoModel.load("stories-qwen3", QuantizeConfig.builder().build())) {
      String prompt = "Once upon a time";
      String before = model.generate(prompt, GenerateOptions.builder().maxTokens(12).build());
      model.quantize();
      String after = model.generate(prompt, GenerateOptions.builder().maxTokens(12).build());
      assertThat(before).startsWith(", there was");
      assertThat(after).startsWith(", there was");
      assertThat(model.generate(prompt, GenerateOptions.builder().stop(List.of("there")).build()))
          .isEqualTo(", ");
    }
  }
}
