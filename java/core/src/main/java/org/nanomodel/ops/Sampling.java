package org.nanomodel.ops;

/**
 * How the next token is drawn: logits / temperature, the topK largest, of those the smallest set
 * that reaches topP, of those all with at least minP times the largest probability.
 *
 * @param temperature 0 = the largest logit
 * @param topK 0 = all
 * @param topP 1 = all
 * @param minP 0 = all
 */
public record Sampling(float temperature, int topK, float topP, float minP) {
  public static final Sampling GREEDY = new Sampling(0, 0, 1, 0);

  public Sampling {
    if (!(temperature >= 0) || temperature == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException("temperature = " + temperature + ", expected 0 or more");
    }
    if (topK < 0) {
      throw new IllegalArgumentException("top_k = " + topK + ", expected 0 (all) or more");
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new IllegalArgumentException("top_p = " + topP + ", expected above 0, at most 1 (all)");
    }
    if (!(minP >= 0 && minP <= 1)) {
      throw new IllegalArgumentException("min_p = " + minP + ", expected 0 (all) to 1");
    }
  }
}
