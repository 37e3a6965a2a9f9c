package org.nanomodel.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Memory for drawing one token, shared by all requests of a scheduler. */
final class DrawRoom {
  private final int vocab;
  private final Tensor id;
  private final Tensor uniform;
  private final Tensor nll;
  private final Arena arena = Arena.ofAuto();
  private Tensor copy;
  private Tensor[] rows = new Tensor[0];
  private long rowsOf;

  DrawRoom(int vocab) {
    this.vocab = vocab;
    id = Tensor.allocate(arena, DataType.I32, 1);
    uniform = Tensor.allocate(arena, DataType.F32, 1);
    nll = Tensor.allocate(arena, DataType.F64, 1);
  }

  Tensor id() {
    return id;
  }

  Tensor uniform() {
    return uniform;
  }

  /** A copy of a row of logits that may be changed; valid until the next one. */
  Tensor copy(Tensor row) {
    if (copy == null) {
      copy = Tensor.allocate(arena, DataType.F32, 1, vocab);
    }
    MemorySegment.copy(row.segment(), 0, copy.segment(), 0, 4L * vocab);
    return copy;
  }

  /** The view of one row, made when it first occurs. */
  Tensor row(Tensor logits, int i) {
    if (logits.rows() == 1) {
      return logits;
    }
    if (rowsOf != logits.segment().address() || rows.length < logits.rows()) {
      rows = new Tensor[(int) logits.rows()];
      rowsOf = logits.segment().address();
    }
    if (rows[i] == null) {
      rows[i] = logits.rows(i, 1);
    }
    return rows[i];
  }

  /**
   * Log probabilities of one token and of the {@code top} likeliest.
   *
   * @param logits [1, V] as the model gave them
   */
  TokenLogprobs logprobs(Ops ops, Tensor logits, int chosen, int top) {
    MemorySegment x = logits.segment();
    int[] best = largest(x, Math.clamp(top, 1, vocab));
    id.segment().set(ValueLayout.JAVA_INT, 0, best[0]);
    ops.nll(nll, logits, id); // of a logit that is a number, however unlikely the chosen one is
    double total = nll.segment().get(ValueLayout.JAVA_DOUBLE, 0) + at(x, best[0]);
    List<TokenLogprobs.Candidate> candidates = new ArrayList<>();
    for (int i = 0; i < Math.min(top, best.length); i++) {
      candidates.add(new TokenLogprobs.Candidate(best[i], at(x, best[i]) - total));
    }
    return new TokenLogprobs(chosen, at(x, chosen) - total, candidates);
  }

  /** Numbers of the n largest in falling order, of equal ones the first. */
  private int[] largest(MemorySegment x, int n) {
    int[] best = new int[n];
    int size = 0;
    float least = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < vocab; i++) {
      float value = at(x, i);
      if (size == n && !(value > least)) {
        continue;
      }
      int place = size < n ? size++ : n - 1;
      while (place > 0 && value > at(x, best[place - 1])) {
        best[place] = best[place - 1];
        place--;
      }
      best[place] = i;
      least = at(x, best[size - 1]);
    }
    return best;
  }

  private static float at(MemorySegment x, int i) {
    return x.getAtIndex(ValueLayout.JAVA_FLOAT, i);
  }
}
