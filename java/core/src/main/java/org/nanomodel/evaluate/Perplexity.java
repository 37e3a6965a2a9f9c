package org.nanomodel.evaluate;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleConsumer;
import org.nanomodel.NanoModelException;
import org.nanomodel.data.TextData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
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
    int context = model.config().maxPositions();
    PerplexityOptions filled = options.filled(context);
    List<ScoredWindow> windows =
        Windows.of(data, tokenizer, filled.protocol(), filled.window(), filled.stride());
    int longest = windows.stream().mapToInt(w -> w.ids().length).max().orElse(0);
    if (longest > context) {
      throw new NanoModelException(
          "Data '%s': %d tokens together, but the model's context is %d; use %s"
              .formatted(
                  data.name(),
                  longest,
                  context,
                  filled.protocol() == Protocol.ROWS
                      ? "--seq-len " + context + " to cut the rows"
                      : "a smaller window"));
    }
    long toRun = windows.stream().mapToLong(w -> w.to() - 1).sum();
    Ops ops = cancel == null ? model.engine().ops() : model.engine().ops(cancel);
    long start = System.nanoTime();
    List<double[]> scores;
    try (NllRunner runner = new NllRunner(model, ops, longest)) {
      scores = runner.run(windows, done -> progress.accept((double) done / toRun));
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return summarize(filled, windows, scores, seconds, toRun / seconds);
  }

  private PerplexityResult summarize(
      PerplexityOptions options,
      List<ScoredWindow> windows,
      List<double[]> scores,
      double seconds,
      double rate) {
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
        bitsPerByte(windows, sum),
        gptqModel ? running / scores.size() : null,
        seconds,
        rate);
  }

  private Double bitsPerByte(List<ScoredWindow> windows, double nats) {
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
