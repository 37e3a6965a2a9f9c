package org.nanomodel.evaluate;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.LongConsumer;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Scores windows, several in a step: every step is filled up with tokens of the next windows, and a
 * window that does not fit goes on in the next step. Logits are made of scored positions only.
 */
final class NllRunner implements AutoCloseable {
  private static final long LOGITS_BYTES = 64L << 20;
  private static final int MAX_SEQUENCES = 32;

  private final CausalModel model;
  private final Ops ops;
  private final KvCache cache;
  private final Batch batch;
  private final int stepTokens;
  private final Tensor targets;
  private final Tensor nll;

  /** Windows in work: the tokens before {@code done} are in the sequence. */
  private static final class Open {
    final ScoredWindow window;
    final double[] scores;
    final Sequence sequence;
    int done;
    int step; // tokens of this step
    boolean scored; // are they scored?

    Open(ScoredWindow window, double[] scores, Sequence sequence) {
      this.window = window;
      this.scores = scores;
      this.sequence = sequence;
    }

    /** The last token needs no step: nothing after it is scored. */
    int left() {
      return window.to() - 1 - done;
    }
  }

  NllRunner(CausalModel model, Ops ops, int longest) {
    this.model = model;
    this.ops = ops;
    int vocab = model.config().vocabSize();
    stepTokens = Math.clamp(LOGITS_BYTES / (4L * vocab), 1, model.maxStepTokens());
    int sequences = Math.clamp(stepTokens, 1, MAX_SEQUENCES);
    int rounded = Math.ceilDiv(longest, KvCache.BLOCK) * KvCache.BLOCK;
    cache = model.newCache((long) sequences * rounded);
    batch = model.newBatch(sequences, longest);
    targets = Tensor.allocate(Arena.ofAuto(), DataType.I32, stepTokens);
    nll = Tensor.allocate(Arena.ofAuto(), DataType.F64, stepTokens);
  }

  /**
   * -log p of the scored positions of each window.
   *
   * @param progress gets the tokens run so far
   */
  List<double[]> run(List<ScoredWindow> windows, LongConsumer progress) {
    List<double[]> scores = new ArrayList<>();
    windows.forEach(w -> scores.add(new double[w.scored()]));
    Iterator<ScoredWindow> next = windows.iterator();
    Iterator<double[]> nextScores = scores.iterator();
    List<Open> open = new ArrayList<>();
    long tokens = 0;
    try (var _ = model.use()) {
      while (next.hasNext() || !open.isEmpty()) {
        tokens += fill(open, next, nextScores);
        step(open);
        progress.accept(tokens);
      }
    } finally {
      open.forEach(o -> o.sequence.close());
    }
    return scores;
  }

  private int fill(List<Open> open, Iterator<ScoredWindow> next, Iterator<double[]> nextScores) {
    batch.clear();
    int room = stepTokens;
    for (int i = 0; room > 0; i++) {
      if (i == open.size()) {
        if (!next.hasNext() || i == MAX_SEQUENCES || i == stepTokens) {
          break;
        }
        open.add(new Open(next.next(), nextScores.next(), cache.newSequence()));
      }
      Open o = open.get(i);
      int context = o.window.from() - 1 - o.done; // tokens whose successors are not scored
      o.scored = context <= 0;
      o.step = Math.min(room, context > 0 ? context : o.left());
      Batch.Logits wanted = o.scored ? Batch.Logits.ALL : Batch.Logits.NONE;
      batch.add(o.sequence, o.window.ids(), o.done, o.step, wanted);
      room -= o.step;
    }
    return stepTokens - room;
  }

  private void step(List<Open> open) {
    int rows = 0;
    for (Open o : open) {
      for (int i = 0; o.scored && i < o.step; i++) {
        int target = o.window.ids()[o.done + i + 1];
        targets.segment().setAtIndex(ValueLayout.JAVA_INT, rows++, target);
      }
    }
    Tensor logits = model.forward(ops, batch);
    if (rows > 0) {
      ops.nll(nll.rows(0, rows), logits, targets.rows(0, rows));
    }
    int row = 0;
    for (Open o : open) {
      for (int i = 0; o.scored && i < o.step; i++) {
        double score = nll.segment().getAtIndex(ValueLayout.JAVA_DOUBLE, row++);
        o.scores[o.done + i + 1 - o.window.from()] = score;
      }
      o.done += o.step;
      o.step = 0;
      if (o.left() == 0) {
        o.sequence.close();
      }
    }
    open.removeIf(o -> o.left() == 0);
  }

  @Override
  public void close() {
    cache.close();
  }
}
