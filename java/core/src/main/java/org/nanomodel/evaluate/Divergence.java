package org.nanomodel.evaluate;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleConsumer;
import org.nanomodel.NanoModelException;
import org.nanomodel.data.TextData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * How far a model's predictions are from those of another, usually those of a quantized model from
 * the original's: the Kullback-Leibler divergence of the two next-token distributions, at the
 * positions that the {@link Protocol} scores. Both models run side by side, step by step, so that
 * the logits of one step are all that is kept; or the reference's come from a file.
 */
public final class Divergence {
  private final CausalModel model;
  private final Optional<Tokenizer> tokenizer;

  /**
   * @param tokenizer needed for text; for rows of ids it serves to count bytes
   */
  public Divergence(CausalModel model, Optional<Tokenizer> tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
  }

  /** Measures all of the data against a model of the same vocabulary. */
  public DivergenceResult against(CausalModel reference, TextData data, PerplexityOptions options) {
    return against(reference, data, options, null, part -> {});
  }

  /**
   * Measures all of the data against a model of the same vocabulary.
   *
   * @param cancel ends the run with a {@link org.nanomodel.CancelledException}; may be null
   * @param progress gets the part that is done, 0 to 1
   */
  public DivergenceResult against(
      CausalModel reference,
      TextData data,
      PerplexityOptions options,
      Cancel cancel,
      DoubleConsumer progress) {
    requireVocabulary(reference.config().vocabSize(), "the reference");
    ScoredText text = ScoredText.of(data, model, tokenizer, options);
    long start = System.nanoTime();
    try (var runner = new WindowRunner(List.of(model, reference), cancel, text.longest(), false)) {
      var tally = new Tally(text, runner);
      runner.run(
          text.windows(),
          (pieces, logits, targets) -> {
            tally.add(pieces, logits.get(1), logits.get(0), targets);
            tally.addReference(pieces, logits.get(1), targets);
          },
          done -> progress.accept((double) done / text.toRun()));
      return tally.result((System.nanoTime() - start) / 1e9);
    }
  }

  /**
   * Measures all of the data against stored predictions; those of other data or another protocol
   * are refused.
   *
   * @param cancel ends the run with a {@link org.nanomodel.CancelledException}; may be null
   * @param progress gets the part that is done, 0 to 1
   */
  public DivergenceResult against(
      ReferenceLogits stored,
      TextData data,
      PerplexityOptions options,
      Cancel cancel,
      DoubleConsumer progress) {
    requireVocabulary(stored.vocab(), stored.path().toString());
    ScoredText text = ScoredText.of(data, model, tokenizer, options);
    stored.requireFor(text);
    long start = System.nanoTime();
    try (var runner = new WindowRunner(List.of(model), cancel, text.longest(), false)) {
      var tally = new Tally(text, runner);
      var reader = stored.reader(text, runner.maxRows());
      runner.run(
          text.windows(),
          (pieces, logits, targets) -> {
            Tensor rows = reader.read(runner.ops(), pieces);
            tally.add(pieces, rows, logits.getFirst(), targets);
            tally.addReference(pieces, reader);
          },
          done -> progress.accept((double) done / text.toRun()));
      return tally.result((System.nanoTime() - start) / 1e9);
    }
  }

  private void requireVocabulary(int vocab, String who) {
    int own = model.config().vocabSize();
    if (vocab != own) {
      throw new NanoModelException(
          "%s has a vocabulary of %d tokens, the model one of %d: they cannot be compared"
              .formatted(who, vocab, own));
    }
  }

  /** Figures as they come. */
  private final class Tally {
    private final ScoredText text;
    private final Ops ops;
    private final Scores scores;
    private final Tensor kl;
    private final Tensor topReference;
    private final Tensor top;
    private final List<double[]> divergences;
    private final List<double[]> own;
    private final List<double[]> reference;
    private long agreements;

    Tally(ScoredText text, WindowRunner runner) {
      this.text = text;
      this.ops = runner.ops();
      int rows = runner.maxRows();
      scores = new Scores(rows);
      kl = Tensor.allocate(Arena.ofAuto(), DataType.F64, rows);
      topReference = Tensor.allocate(Arena.ofAuto(), DataType.I32, rows);
      top = Tensor.allocate(Arena.ofAuto(), DataType.I32, rows);
      divergences = text.figures();
      own = text.figures();
      reference = text.figures();
    }

    void add(List<WindowRunner.Piece> pieces, Tensor expected, Tensor logits, Tensor targets) {
      long n = logits.rows();
      ops.kl(kl.rows(0, n), expected, logits, topReference.rows(0, n), top.rows(0, n));
      Scores.spread(kl, pieces, divergences);
      Scores.spread(scores.of(ops, logits, targets), pieces, own);
    }

    /** Of the model that has just run. */
    void addReference(List<WindowRunner.Piece> pieces, Tensor logits, Tensor targets) {
      Scores.spread(scores.of(ops, logits, targets), pieces, reference);
      for (int i = 0; i < logits.rows(); i++) {
        count(topReference.segment().getAtIndex(ValueLayout.JAVA_INT, i), i);
      }
    }

    /** Of the file, which keeps both exactly: its log probabilities are rounded. */
    void addReference(List<WindowRunner.Piece> pieces, ReferenceLogits.Reader reader) {
      Scores.spread(reader.nll(), pieces, reference);
      for (int i = 0; i < reader.rows(); i++) {
        count(reader.top(i), i);
      }
    }

    private void count(int expected, int row) {
      if (top.segment().getAtIndex(ValueLayout.JAVA_INT, row) == expected) {
        agreements++;
      }
    }

    DivergenceResult result(double seconds) {
      PerplexityResult perplexity = Perplexity.summarize(text, tokenizer, own, seconds);
      return DivergenceResult.of(perplexity, divergences, own, reference, agreements);
    }
  }
}
