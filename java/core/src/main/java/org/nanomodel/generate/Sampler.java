package org.nanomodel.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.BitSet;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Draws the tokens of one request from its own random stream, so that they do not depend on what
 * runs beside it.
 */
final class Sampler {
  private final GenerateOptions options;
  private final Tensor id;
  private final Tensor uniform;
  private final BitSet seen = new BitSet();
  private long state;

  Sampler(GenerateOptions options, int[] prompt) {
    this.options = options;
    this.state = options.seed();
    Arena arena = Arena.ofAuto();
    id = Tensor.allocate(arena, DataType.I32, 1);
    uniform = Tensor.allocate(arena, DataType.F32, 1);
    for (int t : prompt) {
      seen.set(t);
    }
  }

  /** The next token; logits: [1, V], changed in place by the penalty. */
  int next(Ops ops, Tensor logits) {
    if (options.repeatPenalty() != 1) {
      penalize(logits.segment());
    }
    uniform.segment().set(ValueLayout.JAVA_FLOAT, 0, nextUniform());
    ops.sample(id, logits, options.sampling(), uniform, null);
    int token = id.segment().get(ValueLayout.JAVA_INT, 0);
    seen.set(token);
    return token;
  }

  private void penalize(MemorySegment row) {
    float penalty = options.repeatPenalty();
    for (int t = seen.nextSetBit(0); t >= 0; t = seen.nextSetBit(t + 1)) {
      float logit = row.getAtIndex(ValueLayout.JAVA_FLOAT, t);
      row.setAtIndex(ValueLayout.JAVA_FLOAT, t, logit > 0 ? logit / penalty : logit * penalty);
    }
  }

  /** SplitMix64 (Steele et al. 2014); its upper 24 bits as a float in [0, 1). */
  private float nextUniform() {
    state += 0x9E3779B97F4A7C15L;
    long z = state;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    z ^= z >>> 31;
    return (z >>> 40) * 0x1p-24f;
  }
}
