package org.nanomodel.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.ops.Cancel;
import org.nanomodel.tensor.Tensor;

/**
 * Figures come from Hugging Face transformers in float32: shared/golden/QUALITY.md for stories3M,
 * data/README.md for the bundled model.
 */
class PerplexityTest {
  private static NanoModel model;

  @BeforeAll
  static void load() {
    model = AutoNanoModel.load(SharedData.root().resolve("data/models/stories-qwen3"));
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static String story() {
    return SharedData.root().resolve("data/texts/stories-eval.txt").toString();
  }

  @ParameterizedTest
  @CsvSource({"eval_a_ids.jsonl,3.5645,38331", "eval_b_ids.jsonl,4.9553,40290"})
  void stories3MEqualsTheReferenceToFourDigits(String file, double expected, long tokens) {
    Path rows = SharedData.require("golden/quality/stories3M").resolve(file);
    try (NanoModel stories = AutoNanoModel.load(SharedData.require("models/stories3M"))) {
      PerplexityResult result =
          stories.perplexity(
              TextData.open(rows.toString(), DataOptions.ALL), PerplexityOptions.rows());
      assertThat(result.tokens()).isEqualTo(tokens);
      assertThat(result.ppl()).isCloseTo(expected, within(0.00005));
    }
  }

  @Test
  void bundledModelStoryByStory() {
    PerplexityResult result =
        model.perplexity(TextData.open("stories-eval", DataOptions.ALL), PerplexityOptions.rows());
    assertThat(result.ppl()).isCloseTo(2.536, within(0.0005));
    assertThat(result.protocol()).isEqualTo(Protocol.ROWS);
    assertThat(result.ppl()).isCloseTo(Math.exp(result.nllMean()), within(1e-12));
    assertThat(result.pplStderr()).isBetween(0.01, 0.03);
    assertThat(result.bitsPerByte()).isBetween(0.3, 0.4);
  }

  /**
   * The reference kept the last, shorter window, which the protocol drops; so its rows are cut
   * here.
   */
  @Test
  void bundledModelInWindows() throws IOException {
    int[] stories = TextData.open("stories-eval", DataOptions.ALL).stream(model.tokenizer());
    assertThat(pplOfWindowsWithRest(stories)).isCloseTo(2.835, within(0.0005));
    int[] file = model.tokenizer().orElseThrow().encode(Files.readString(Path.of(story())));
    assertThat(pplOfWindowsWithRest(file)).isCloseTo(3.296, within(0.0005));
  }

  private static double pplOfWindowsWithRest(int[] stream) {
    List<int[]> rows = new ArrayList<>();
    for (int at = 0; at < stream.length; at += 512) {
      rows.add(Arrays.copyOfRange(stream, at, Math.min(at + 512, stream.length)));
    }
    return model
        .perplexity(TextData.ofIds("windows", rows, DataOptions.ALL), PerplexityOptions.rows())
        .ppl();
  }

  /**
   * Each window alone, log softmax in float64 in Java, against ragged steps and the native kernel.
   */
  @ParameterizedTest
  @CsvSource({"rows,0,0", "windows,96,0", "sliding,96,31", "gptqmodel,64,0", "llama.cpp,64,0"})
  void everyProtocolEqualsAPlainLoop(String protocol, int window, int stride) {
    TextData data = TextData.open("stories-eval", DataOptions.ALL.withSamples(9).withSeqLen(300));
    PerplexityOptions options = new PerplexityOptions(Protocol.of(protocol), window, stride);
    if (options.protocol() == Protocol.GPTQMODEL) {
      data = TextData.open(story(), DataOptions.ALL.withLimitTokens(1500));
      data = TextData.ofIds("ids", List.of(data.stream(model.tokenizer())), DataOptions.ALL);
    }
    PerplexityResult result = model.perplexity(data, options);
    PerplexityOptions filled = options.filled(512);
    double sum = 0;
    double squares = 0;
    double running = 0;
    long count = 0;
    List<ScoredWindow> windows =
        Windows.of(data, model.tokenizer(), filled.protocol(), filled.window(), filled.stride());
    for (ScoredWindow w : windows) {
      Tensor logits = model.logits(w.ids());
      for (int i = w.from(); i < w.to(); i++) {
        double nll = nll(logits, i - 1, w.ids()[i]);
        sum += nll;
        squares += nll * nll;
        count++;
      }
      running += Math.exp(sum / count);
    }
    double mean = sum / count;
    assertThat(result.tokens()).isEqualTo(count);
    assertThat(result.nllMean()).isCloseTo(mean, within(2e-5));
    double deviation = Math.sqrt((squares / count - mean * mean) / (count - 1));
    assertThat(result.pplStderr()).isCloseTo(deviation * Math.exp(mean), within(1e-4));
    if (options.protocol() == Protocol.GPTQMODEL) {
      assertThat(result.pplRunningMean()).isCloseTo(running / windows.size(), within(1e-3));
    }
  }

  private static double nll(Tensor logits, int row, int target) {
    double max = Double.NEGATIVE_INFINITY;
    for (int v = 0; v < logits.cols(); v++) {
      max = Math.max(max, logits.getFloat(row, v));
    }
    double sum = 0;
    for (int v = 0; v < logits.cols(); v++) {
      sum += Math.exp(logits.getFloat(row, v) - max);
    }
    return max + Math.log(sum) - logits.getFloat(row, target);
  }

  @Test
  void rowsTogetherScoreAsRowsAlone() {
    Random random = new Random(3);
    List<int[]> rows = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      rows.add(random.ints(1 + random.nextInt(60), 0, 2045).toArray());
    }
    double sum = 0;
    long tokens = 0;
    for (int[] row : rows) {
      if (row.length > 1) {
        PerplexityResult alone =
            model.perplexity(
                TextData.ofIds("row", List.of(row), DataOptions.ALL), PerplexityOptions.rows());
        sum += alone.nllMean() * alone.tokens();
        tokens += alone.tokens();
      }
    }
    PerplexityResult together =
        model.perplexity(TextData.ofIds("rows", rows, DataOptions.ALL), PerplexityOptions.rows());
    assertThat(together.tokens()).isEqualTo(tokens);
    assertThat(together.nllMean()).isCloseTo(sum / tokens, within(1e-5));
  }

  @Test
  void rowsLongerThanTheContextAreRefused() {
    TextData data = TextData.ofIds("long", List.of(new int[513]), DataOptions.ALL);
    assertThatThrownBy(() -> model.perplexity(data, PerplexityOptions.rows()))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("513 tokens")
        .hasMessageContaining("context is 512");
  }

  @Test
  void aRunCanBeCancelled() {
    Cancel cancel = new Cancel();
    TextData data = TextData.open("stories-eval", DataOptions.ALL);
    assertThatThrownBy(() ->
            new Perplexity(model.graph(), model.tokenizer())
                .run(data, PerplexityOptions.rows(), cancel, part -> cancel.raise()))
        .isInstanceOf(CancelledException.class);
  }

  @Test
  void theResultHasTheKeysOfTheCommandLine() {
    PerplexityResult result =
        new PerplexityResult(Protocol.ROWS, 512, null, 9, 1, Math.E, 0.1, null, null, 2, 4.5);
    List<String> keys = new ArrayList<>();
    result.toJson().fieldNames().forEachRemaining(keys::add);
    assertThat(keys)
        .containsExactly(
            "metric",
            "protocol",
            "window",
            "stride",
            "tokens",
            "nll_mean",
            "ppl",
            "ppl_stderr",
            "bits_per_byte",
            "kld_mean",
            "kld_median",
            "kld_p99",
            "kld_max",
            "top1_agreement",
            "ppl_reference",
            "seconds",
            "tokens_per_second");
  }
}
