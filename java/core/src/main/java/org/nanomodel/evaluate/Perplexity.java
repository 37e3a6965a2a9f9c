package org.nanomodel.evaluate;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleConsumer;
import org.nanomodel.data.TextData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Cancel;
import org.nanomodel.tensor.Tensor;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Perplexity: exp of the mean of -log p(token | tokens before it), natural logarithm, summed in
 * float64. Which tokens are scored, and what stands before them, is the {@link Protocol}; the
 * result names it.
 */
public final class Perplexity {
  /** GPTQModel takes 1e-8 for a probability that float32 rounds to 0. */
  private static final double UNDERFLOW = 149 * Math.log(2);

  private static final double UNDERFLOW_SCORE = -Math.log(1e-8);

  private final CausalModel model;
  private final Optional<Tokenizer> tokenizer;

  /**
   * @param tokenizer needed for text; for rows of ids it serves to count bytes
   */
  public Perplexity(CausalModel model, Optional<Tokenizer> tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
  }

  /** Measures all of the data. */
  public PerplexityResult run(TextData data, PerplexityOptions options) {
    return run(data, options, null, fraction -> {});
  }

  /**
   * Measures all of the data.
   *
   * @param cancel ends the run with a {@link org.nanomodel.CancelledException}; may be null
   * @param progress gets the part that is done, 0 to 1
   */
  public PerplexityResult run(
      TextData data, PerplexityOptions options, Cancel cancel, DoubleConsumer progress) {
    ScoredText text = ScoredText.of(data, model, tokenizer, options);
    List<double[]> scores = text.figures();
    long start = System.nanoTime();
    try (WindowRunner runner = new WindowRunner(List.of(model), cancel, text.longest(), false)) {
      var nll = new Scores(runner.maxRows());
      runner.run(
          text.windows(),
          (pieces, logits, targets) -> {
            Tensor rows = nll.of(runner.ops(), logits.getFirst(), targets);
            Scores.spread(rows, pieces, scores);
          },
          done -> progress.accept((double) done / text.toRun()));
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return summarize(text, tokenizer, scores, seconds);
  }

  /**
   * @param scores -log p of the scored positions of each window
   */
  static PerplexityResult summarize(
      ScoredText text, Optional<Tokenizer> tokenizer, List<double[]> scores, double seconds) {
    PerplexityOptions options = text.options();
    boolean gptqModel = options.protocol() == Protocol.GPTQMODEL;
    double sum = 0;
    double squares = 0;
    double running = 0;
    long count = 0;
    for (double[] window : scores) {
      for (double score : window) {
        double s = gptqModel && score > UNDERFLOW ? UNDERFLOW_SCORE : score;
        sum += s;
        squares += s * s;
      }
      count += window.length;
      running += Math.exp(sum / count);
    }
    double mean = sum / count;
    double ppl = Math.exp(mean);
    double variance = Math.max(0, squares / count - mean * mean);
    return new PerplexityResult(
        options.protocol(),
        options.window(),
        options.protocol() == Protocol.SLIDING ? options.stride() : null,
        count,
        mean,
        ppl,
        count < 2 ? 0 : ppl * Math.sqrt(variance / (count - 1)),
        bitsPerByte(tokenizer, text.windows(), sum),
        gptqModel ? running / scores.size() : null,
        seconds,
        text.toRun() / seconds);
  }

  private static Double bitsPerByte(
      Optional<Tokenizer> tokenizer, List<ScoredWindow> windows, double nats) {
    if (tokenizer.isEmpty()) {
      return null;
    }
    long bytes = 0;
    for (ScoredWindow w : windows) {
      // Joined to what stands before, since decoders drop a space at the beginning of a text.
      int[] before = Arrays.copyOf(w.ids(), w.from());
      int[] all = Arrays.copyOf(w.ids(), w.to());
      bytes += utf8Length(tokenizer.get().decode(all, true));
      bytes -= utf8Length(tokenizer.get().decode(before, true));
    }
    return bytes == 0 ? null : nats / Math.log(2) / bytes;
  }

  private static long utf8Length(String text) {
    return text.codePoints()
        .mapToLong(c -> c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4)
        .sum();
  }
}
