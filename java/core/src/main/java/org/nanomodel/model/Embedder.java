package org.nanomodel.model;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Pooling;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Texts as vectors: the hidden states after the last norm, pooled. Several texts share a step; a
 * text does not see the others. Used by one thread.
 */
public final class Embedder {
  private final CausalModel model;
  private final Ops ops;

  public Embedder(CausalModel model, Ops ops) {
    this.model = model;
    this.ops = ops;
  }

  /** A text under way. */
  private static final class Text {
    final int[] ids;
    final Sequence sequence;
    final double[] sum;
    final int number;
    int inStep;

    Text(int number, int[] ids, Sequence sequence, int dim) {
      this.number = number;
      this.ids = ids;
      this.sequence = sequence;
      this.sum = new double[dim];
    }
  }

  /**
   * One vector of the model's hidden size for each text.
   *
   * @param texts token ids, at least one each
   * @param normalized whether each vector is scaled to length 1
   */
  public List<float[]> embed(List<int[]> texts, Pooling pooling, boolean normalized) {
    List<float[]> vectors = embed(texts, pooling);
    if (normalized) {
      vectors.forEach(Embedder::normalize);
    }
    return vectors;
  }

  private static void normalize(float[] x) {
    double square = 0;
    for (float v : x) {
      square += (double) v * v;
    }
    double factor = square == 0 ? 1 : 1 / Math.sqrt(square);
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) (x[i] * factor);
    }
  }

  private List<float[]> embed(List<int[]> texts, Pooling pooling) {
    int longest = texts.stream().mapToInt(t -> t.length).max().orElse(0);
    int context = model.config().maxPositions();
    if (texts.stream().anyMatch(t -> t.length == 0) || longest > context) {
      throw new IllegalArgumentException(
          "a text has "
              + (longest > context ? longest : 0)
              + " tokens, expected 1 to "
              + context
              + " (the context)");
    }
    var out = new float[texts.size()][];
    if (texts.isEmpty()) {
      return List.of();
    }
    int most = model.maxStepTokens();
    // Short texts share a step; each takes whole blocks.
    long room = longest + (long) most * KvCache.BLOCK;
    try (var _ = model.use();
        var cache = model.newCache(room)) {
      Batch batch = model.newBatch(most, longest);
      var active = new ArrayList<Text>();
      int next = 0;
      while (next < texts.size() || !active.isEmpty()) {
        batch.clear();
        active.forEach(t -> add(batch, t));
        while (next < texts.size() && batch.tokens() < most) {
          var t = new Text(next, texts.get(next), cache.newSequence(), model.config().hiddenSize());
          add(batch, t);
          active.add(t);
          next++;
        }
        model.forwardNormed(ops, batch, states -> take(active, states, pooling));
        active.removeIf(t -> finish(t, pooling, out));
      }
    }
    return List.of(out);
  }

  private static void add(Batch batch, Text t) {
    int from = t.sequence.length();
    t.inStep = Math.min(batch.maxTokens() - batch.tokens(), t.ids.length - from);
    batch.add(t.sequence, t.ids, from, t.inStep, Batch.Logits.NONE);
  }

  private static void take(List<Text> active, Tensor states, Pooling pooling) {
    long row = 0;
    for (Text t : active) {
      boolean ends = t.sequence.length() + t.inStep == t.ids.length;
      long first = pooling == Pooling.MEAN ? row : row + t.inStep - 1;
      row += t.inStep;
      for (long r = first; r < row && (ends || pooling == Pooling.MEAN); r++) {
        MemorySegment x = states.segment();
        for (int d = 0; d < t.sum.length; d++) {
          t.sum[d] += x.getAtIndex(ValueLayout.JAVA_FLOAT, r * states.rowStride() + d);
        }
      }
    }
  }

  private static boolean finish(Text t, Pooling pooling, float[][] out) {
    if (t.sequence.length() < t.ids.length) {
      return false;
    }
    double rows = pooling == Pooling.MEAN ? t.ids.length : 1;
    out[t.number] = new float[t.sum.length];
    for (int d = 0; d < t.sum.length; d++) {
      out[t.number][d] = (float) (t.sum[d] / rows);
    }
    t.sequence.close();
    return true;
  }
}
