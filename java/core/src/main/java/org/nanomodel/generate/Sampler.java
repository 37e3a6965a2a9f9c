package org.nanomodel.generate;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Draws the tokens of one request from its own random stream, so that they do not depend on what
 * runs beside it. The order is that of llama.cpp: bias, penalties, temperature, cuts.
 */
final class Sampler {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  private final GenerateOptions options;
  private final int[] biasIds;
  private final float[] biases;
  private final TokenCounts seen; // null where there is no penalty
  private long state;

  Sampler(GenerateOptions options, int[] prompt) {
    this.options = options;
    this.state = options.seed();
    this.biasIds = new int[options.logitBias().size()];
    this.biases = new float[biasIds.length];
    int i = 0;
    for (Map.Entry<Integer, Float> e : options.logitBias().entrySet()) {
      biasIds[i] = e.getKey();
      biases[i++] = e.getValue();
    }
    boolean penalties =
        options.repeatPenalty() != 1
            || options.presencePenalty() != 0
            || options.frequencyPenalty() != 0;
    this.seen = penalties ? new TokenCounts() : null;
    if (penalties && options.repeatPenalty() != 1) {
      for (int t : prompt) {
        seen.add(t, 0);
      }
    }
  }

  /** The next token; logits: [1, V], left as they are. */
  int next(Ops ops, Tensor logits, DrawRoom room) {
    Tensor row = logits;
    if (seen != null || biasIds.length > 0) {
      row = room.copy(logits);
      adjust(row.segment());
    }
    room.uniform().segment().set(FLOAT, 0, nextUniform());
    ops.sample(room.id(), row, options.sampling(), room.uniform(), null);
    int token = room.id().segment().get(ValueLayout.JAVA_INT, 0);
    if (seen != null) {
      seen.add(token, 1);
    }
    return token;
  }

  private void adjust(MemorySegment row) {
    for (int i = 0; i < biasIds.length; i++) {
      float logit = row.getAtIndex(FLOAT, biasIds[i]);
      row.setAtIndex(FLOAT, biasIds[i], logit + biases[i]);
    }
    for (int slot = 0; seen != null && slot < seen.slots(); slot++) {
      int id = seen.id(slot);
      if (id >= 0) {
        row.setAtIndex(FLOAT, id, penalized(row.getAtIndex(FLOAT, id), seen.count(slot)));
      }
    }
  }

  /** Keskar et al. 2019, then as the OpenAI API defines presence and frequency. */
  private float penalized(float logit, int count) {
    float repeat = options.repeatPenalty();
    float divided = logit > 0 ? logit / repeat : logit * repeat;
    float presence = count > 0 ? options.presencePenalty() : 0;
    return divided - count * options.frequencyPenalty() - presence;
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
