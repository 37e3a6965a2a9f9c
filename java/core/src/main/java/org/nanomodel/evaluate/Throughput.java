package org.nanomodel.evaluate;

import java.util.Arrays;
import java.util.Random;
import java.util.function.IntConsumer;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModelException;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;

/**
 * How many tokens a second a model runs, one sequence: prompts in steps as long as the model takes,
 * text token by token. Tokens are random, drawn once; tokenizing and sampling are no part of it,
 * the logits of a prompt's last token and of each token of a text are.
 */
public final class Throughput implements AutoCloseable {
  private static final int WARM_UP_TOKENS = 16; // of those that come one by one

  /**
   * What is timed.
   *
   * @param prompt tokens in large steps
   * @param generated tokens after them, one a step
   * @param depth tokens that are in the cache before; not timed
   */
  public record Test(int prompt, int generated, int depth) {
    public Test {
      if (prompt < 0 || generated < 0 || depth < 0 || prompt + generated == 0) {
        throw new IllegalArgumentException(
            "test of %d prompt tokens and %d generated ones at depth %d: expected at least one token"
                .formatted(prompt, generated, depth));
      }
    }

    int tokens() {
      return prompt + generated;
    }

    int context() {
      return Math.addExact(depth, tokens());
    }

    /** {@code pp512}, {@code tg128}, {@code pp512+tg128}, each perhaps with {@code @ d1024}. */
    public String name() {
      String name = prompt > 0 ? "pp" + prompt : "";
      name += prompt > 0 && generated > 0 ? "+" : "";
      name += generated > 0 ? "tg" + generated : "";
      return depth > 0 ? name + " @ d" + depth : name;
    }
  }

  private final CausalModel model;
  private final Ops ops;
  private final Cancel cancel;
  private final Test test;
  private final KvCache cache;
  private final Batch batch;
  private final Sequence sequence;
  private final int[] ids;

  /**
   * @param cancel ends a run with a {@link org.nanomodel.CancelledException}; may be null
   */
  public Throughput(CausalModel model, Test test, long seed, Cancel cancel) {
    int context = model.config().maxPositions();
    if (test.context() > context) {
      throw new NanoModelException(
          "Test %s needs %d tokens, but the model's context is %d; use smaller numbers"
              .formatted(test.name(), test.context(), context));
    }
    this.model = model;
    this.test = test;
    this.cancel = cancel;
    this.ops = cancel == null ? model.engine().ops() : model.engine().ops(cancel);
    ids = new Random(seed).ints(test.context(), 0, model.config().vocabSize()).toArray();
    cache = model.newCache(test.context());
    batch = model.newBatch(1, test.context());
    sequence = cache.newSequence();
    steps(test.depth(), batch.maxTokens());
  }

  /** Runs without timing, so that code is compiled, memory is touched and threads are awake. */
  public void warmUp() {
    prompt();
    steps(Math.min(WARM_UP_TOKENS, test.generated()), 1);
    sequence.truncate(test.depth());
  }

  /** One run, in seconds. */
  public double seconds() {
    long start = System.nanoTime();
    prompt();
    steps(test.generated(), 1);
    double seconds = (System.nanoTime() - start) / 1e9;
    sequence.truncate(test.depth());
    return seconds;
  }

  /** One run, in tokens per second. */
  public double tokensPerSecond() {
    return test.tokens() / seconds();
  }

  /**
   * Several runs after a warm-up.
   *
   * @param progress gets the runs done so far
   * @return tokens per second of each, in the order of the runs
   */
  public double[] run(int repetitions, IntConsumer progress) {
    warmUp();
    double[] rates = new double[repetitions];
    for (int i = 0; i < repetitions; i++) {
      progress.accept(i);
      rates[i] = tokensPerSecond();
    }
    return rates;
  }

  /** The middle one; of an even number the mean of the two in the middle. */
  public static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return DivergenceResult.percentile(sorted, 0.5);
  }

  private void prompt() {
    steps(test.prompt(), batch.maxTokens());
  }

  private void steps(int tokens, int step) {
    int end = sequence.length() + tokens;
    while (sequence.length() < end) {
      if (cancel != null && cancel.isRaised()) {
        throw new CancelledException("cancelled between two steps of a test");
      }
      int at = sequence.length();
      int n = Math.min(step, end - at);
      boolean wanted = step == 1 || at + n == end; // a text needs them for each of its tokens
      batch.clear().add(sequence, ids, at, n, wanted ? Batch.Logits.LAST : Batch.Logits.NONE);
      model.forward(ops, batch);
    }
  }

  @Override
  public void close() {
    sequence.close();
    cache.close();
  }
}
