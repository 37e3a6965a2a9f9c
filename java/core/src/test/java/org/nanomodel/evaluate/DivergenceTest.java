package org.nanomodel.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.SharedData;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.ops.Cancel;
import org.nanomodel.quantize.QuantizeListener;
import org.nanomodel.tensor.Tensor;

/**
 * The bundled model and its 4-bit version. The oracle runs each window alone and does all of the
 * arithmetic in float64 in Java.
 */
class DivergenceTest {
  private static final ReferenceLogits.Identity ORIGINAL =
      new ReferenceLogits.Identity("original", "1234");

  @TempDir private static Path directory;

  private static NanoModel original;
  private static NanoModel small;

  @BeforeAll
  static void load() {
    Path source = SharedData.root().resolve("data/models/stories-qwen3");
    original = AutoNanoModel.load(source);
    small = AutoNanoModel.load(source, QuantizeConfig.builder().bits(4).build());
    small.quantize(null, directory.resolve("small"), QuantizeListener.NONE);
  }

  @AfterAll
  static void close() {
    original.close();
    small.close();
  }

  private static TextData stories(int samples) {
    DataOptions options = DataOptions.ALL.withSamples(samples).withSeqLen(200);
    return TextData.open("stories-eval", options);
  }

  private static Divergence divergence() {
    return new Divergence(small.graph(), small.tokenizer());
  }

  /** Figures of every scored position, in order. */
  private record Plain(List<Double> kl, List<Double> nll, List<Double> nllReference, int same) {
    static Plain of(TextData data, PerplexityOptions options) {
      PerplexityOptions filled = options.filled(512);
      List<Double> kl = new ArrayList<>();
      List<Double> nll = new ArrayList<>();
      List<Double> nllReference = new ArrayList<>();
      int same = 0;
      for (ScoredWindow w :
          Windows.of(
              data, original.tokenizer(), filled.protocol(), filled.window(), filled.stride())) {
        Tensor expected = original.logits(w.ids());
        Tensor logits = small.logits(w.ids());
        for (int i = w.from(); i < w.to(); i++) {
          double[] p = logSoftmax(expected, i - 1);
          double[] q = logSoftmax(logits, i - 1);
          double sum = 0;
          int topP = 0;
          int topQ = 0;
          for (int v = 0; v < p.length; v++) {
            sum += Math.exp(p[v]) * (p[v] - q[v]);
            topP = p[v] > p[topP] ? v : topP;
            topQ = q[v] > q[topQ] ? v : topQ;
          }
          kl.add(sum);
          nll.add(-q[w.ids()[i]]);
          nllReference.add(-p[w.ids()[i]]);
          same += topP == topQ ? 1 : 0;
        }
      }
      return new Plain(kl, nll, nllReference, same);
    }
  }

  private static double[] logSoftmax(Tensor logits, int row) {
    double[] x = new double[(int) logits.cols()];
    double max = Double.NEGATIVE_INFINITY;
    for (int v = 0; v < x.length; v++) {
      x[v] = logits.getFloat(row, v);
      max = Math.max(max, x[v]);
    }
    double sum = 0;
    for (double v : x) {
      sum += Math.exp(v - max);
    }
    for (int v = 0; v < x.length; v++) {
      x[v] -= max + Math.log(sum);
    }
    return x;
  }

  private static double mean(List<Double> x) {
    return x.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  /** Ragged steps round the logits otherwise than windows alone; the rest is arithmetic. */
  @ParameterizedTest
  @CsvSource({"rows,0,0", "windows,96,0", "sliding,96,31", "llama.cpp,64,0"})
  void everyProtocolEqualsAPlainLoopInFloat64(String protocol, int window, int stride) {
    PerplexityOptions options = new PerplexityOptions(Protocol.of(protocol), window, stride);
    TextData data = stories(5);
    Plain plain = Plain.of(data, options);
    DivergenceResult result = divergence().against(original.graph(), data, options);
    int n = plain.kl().size();
    assertThat(result.perplexity().tokens()).isEqualTo(n);
    double kl = mean(plain.kl());
    assertThat(kl).isGreaterThan(0.01);
    assertThat(result.kldMean()).isCloseTo(kl, within(2e-5 * kl + 1e-6));
    double[] sorted = plain.kl().stream().mapToDouble(Double::doubleValue).sorted().toArray();
    assertThat(result.kldMax()).isCloseTo(sorted[n - 1], within(1e-4));
    assertThat(result.kldMedian())
        .isCloseTo((sorted[(n - 1) / 2] + sorted[n / 2]) / 2, within(1e-5));
    assertThat(result.top1Agreement()).isCloseTo((double) plain.same() / n, within(1e-9));
    double ratio = mean(plain.nll()) - mean(plain.nllReference());
    assertThat(result.lnPplRatio()).isCloseTo(ratio, within(2e-5));
    assertThat(result.pplReference()).isCloseTo(Math.exp(mean(plain.nllReference())), within(1e-4));
    double squares = 0;
    double differences = 0;
    for (int i = 0; i < n; i++) {
      double delta = Math.exp(-plain.nll().get(i)) - Math.exp(-plain.nllReference().get(i));
      double off = plain.nll().get(i) - plain.nllReference().get(i) - ratio;
      squares += delta * delta;
      differences += off * off;
    }
    assertThat(result.deltaPRms()).isCloseTo(Math.sqrt(squares / n), within(1e-5));
    assertThat(result.lnPplRatioStderr())
        .isCloseTo(Math.sqrt(differences / (n - 1) / n), within(1e-5));
  }

  @Test
  void perplexitiesAreThoseOfEachModelAlone() {
    TextData data = stories(8);
    PerplexityOptions rows = PerplexityOptions.rows();
    DivergenceResult result = divergence().against(original.graph(), data, rows);
    assertThat(result.perplexity().ppl()).isEqualTo(small.perplexity(data, rows).ppl());
    assertThat(result.pplReference())
        .isCloseTo(original.perplexity(data, rows).ppl(), within(1e-12));
  }

  @Test
  void aModelDoesNotDivergeFromItself() {
    DivergenceResult result =
        new Divergence(original.graph(), original.tokenizer())
            .against(original.graph(), stories(3), PerplexityOptions.rows());
    assertThat(result.kldMax()).isBetween(0.0, 1e-10);
    assertThat(result.top1Agreement()).isEqualTo(1);
    assertThat(result.lnPplRatio()).isZero();
  }

  /** Sliding windows have context, which must not change the order of the rows in the file. */
  @ParameterizedTest
  @CsvSource({"rows,0,0", "sliding,96,31"})
  void storedPredictionsGiveTheSameFigures(String protocol, int window, int stride) {
    PerplexityOptions options = new PerplexityOptions(Protocol.of(protocol), window, stride);
    TextData data = stories(6);
    Path file = directory.resolve(protocol + ".safetensors");
    record(file, data, options);
    DivergenceResult live = divergence().against(original.graph(), data, options);
    try (ReferenceLogits stored = ReferenceLogits.open(file)) {
      assertThat(stored.model()).isEqualTo(ORIGINAL);
      DivergenceResult result = divergence().against(stored, data, options, null, part -> {});
      // F16 rounds a log probability by up to 2^-11 of itself, which the divergence feels squared.
      assertThat(result.kldMean()).isCloseTo(live.kldMean(), within(1e-5 + 1e-4 * live.kldMean()));
      assertThat(result.kldMax()).isCloseTo(live.kldMax(), within(1e-2 * live.kldMax()));
      assertThat(result.top1Agreement()).isEqualTo(live.top1Agreement());
      assertThat(result.pplReference()).isCloseTo(live.pplReference(), within(1e-5));
      assertThat(result.lnPplRatio()).isCloseTo(live.lnPplRatio(), within(2e-6));
    }
  }

  private static void record(Path file, TextData data, PerplexityOptions options) {
    ReferenceLogits.record(
        file, original.graph(), original.tokenizer(), ORIGINAL, data, options, null, part -> {});
  }

  @Test
  void storedPredictionsOfOtherTokensOrModelsAreRefused() {
    Path file = directory.resolve("refused.safetensors");
    record(file, stories(3), PerplexityOptions.rows());
    try (ReferenceLogits stored = ReferenceLogits.open(file)) {
      for (var wrong : List.of(new PerplexityOptions(Protocol.WINDOWS, 64, 0))) {
        assertThatThrownBy(() -> divergence().against(stored, stories(3), wrong, null, p -> {}))
            .isInstanceOf(NanoModelException.class)
            .hasMessageContaining("other tokens")
            .hasMessageContaining("protocol rows");
      }
      assertThatThrownBy(() ->
              divergence().against(stored, stories(4), PerplexityOptions.rows(), null, p -> {}))
          .hasMessageContaining("other tokens");
      stored.requireModel(new ReferenceLogits.Identity("renamed", "1234"));
      assertThatThrownBy(() -> stored.requireModel(new ReferenceLogits.Identity("another", "5678")))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("another");
    }
    Path weights = SharedData.root().resolve("data/models/stories-qwen3/model.safetensors");
    assertThatThrownBy(() -> ReferenceLogits.open(weights))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("no reference logits");
  }

  @Test
  void anInterruptedRecordingLeavesNoFile() {
    Path file = directory.resolve("interrupted.safetensors");
    Cancel cancel = new Cancel();
    assertThatThrownBy(() ->
            ReferenceLogits.record(
                file,
                original.graph(),
                original.tokenizer(),
                ORIGINAL,
                stories(40),
                PerplexityOptions.rows(),
                cancel,
                part -> cancel.raise()))
        .isInstanceOf(CancelledException.class);
    assertThat(directory).isDirectoryNotContaining(path -> path.toString().contains("interrupted"));
  }

  /** Round to nearest differs a little between programs; GPTQModel's: 0.27646 and 76.35 %. */
  @Test
  void stories3MIn4BitsDivergesAboutAsThatOfGptqModel() {
    Path models = SharedData.require("models/stories3M");
    Path rows = SharedData.require("golden/quality/stories3M").resolve("eval_a_ids.jsonl");
    var config = QuantizeConfig.builder().bits(4).groupSize(32).build();
    try (NanoModel reference = AutoNanoModel.load(models);
        NanoModel model = AutoNanoModel.load(models, config)) {
      model.quantize();
      DivergenceResult result =
          new Divergence(model.graph(), Optional.empty())
              .against(
                  reference.graph(),
                  TextData.open(rows.toString(), DataOptions.ALL),
                  PerplexityOptions.rows());
      assertThat(result.perplexity().tokens()).isEqualTo(38331);
      assertThat(result.kldMean()).isCloseTo(0.27646, within(0.01));
      assertThat(result.top1Agreement()).isCloseTo(0.7635, within(0.01));
      assertThat(result.pplReference()).isCloseTo(3.5645, within(0.00005));
    }
  }

  @Test
  void percentilesLieBetweenPositions() {
    double[] sorted = {1, 2, 4, 8};
    assertThat(DivergenceResult.percentile(sorted, 0.5)).isEqualTo(3);
    assertThat(DivergenceResult.percentile(sorted, 1)).isEqualTo(8);
    assertThat(DivergenceResult.percentile(new double[] {7}, 0.99)).isEqualTo(7);
  }
}
