package org.nanomodel.generate;

import java.util.List;
import org.nanomodel.ops.Sampling;

/**
 * How a text is continued.
 *
 * @param maxTokens the most new tokens; the context may end it earlier
 * @param sampling temperature 0 (greedy, the default), top k, top p, min p
 * @param repeatPenalty logits of tokens that occurred are divided by it (multiplied if negative;
 *     Keskar et al. 2019); 1 = off
 * @param seed of the request's own random stream, whatever else runs beside it
 * @param stop texts that end the answer and are not part of it; they need a tokenizer
 * @param stopIds tokens that end it, besides the model's own end tokens
 * @param ignoreEnd whether the model's own end tokens are taken as any other
 */
public record GenerateOptions(
    int maxTokens,
    Sampling sampling,
    float repeatPenalty,
    long seed,
    List<String> stop,
    List<Integer> stopIds,
    boolean ignoreEnd) {

  public GenerateOptions {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("max_tokens = " + maxTokens + ", expected 1 or more");
    }
    if (!(repeatPenalty > 0) || repeatPenalty == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException(
          "repeat_penalty = " + repeatPenalty + ", expected above 0 (1 = off)");
    }
    stop = List.copyOf(stop);
    stopIds = List.copyOf(stopIds);
    if (stop.contains("")) {
      throw new IllegalArgumentException("an empty stop text would end every answer at once");
    }
  }

  public static GenerateOptions defaults() {
    return builder().build();
  }

  public static Builder builder() {
    return new Builder();
  }

  /** Collects options; what is not set keeps its default. */
  public static final class Builder {
    private int maxTokens = 256;
    private float temperature;
    private int topK;
    private float topP = 1;
    private float minP;
    private float repeatPenalty = 1;
    private long seed;
    private List<String> stop = List.of();
    private List<Integer> stopIds = List.of();
    private boolean ignoreEnd;

    private Builder() {}

    public Builder maxTokens(int value) {
      maxTokens = value;
      return this;
    }

    /** 0 = greedy. */
    public Builder temperature(double value) {
      temperature = (float) value;
      return this;
    }

    /** 0 = all. */
    public Builder topK(int value) {
      topK = value;
      return this;
    }

    /** 1 = all. */
    public Builder topP(double value) {
      topP = (float) value;
      return this;
    }

    /** 0 = all. */
    public Builder minP(double value) {
      minP = (float) value;
      return this;
    }

    /** 1 = off. */
    public Builder repeatPenalty(double value) {
      repeatPenalty = (float) value;
      return this;
    }

    public Builder seed(long value) {
      seed = value;
      return this;
    }

    public Builder stop(List<String> texts) {
      stop = texts;
      return this;
    }

    public Builder stopIds(List<Integer> ids) {
      stopIds = ids;
      return this;
    }

    public Builder ignoreEnd(boolean value) {
      ignoreEnd = value;
      return this;
    }

    public GenerateOptions build() {
      return new GenerateOptions(
          maxTokens,
          new Sampling(temperature, topK, topP, minP),
          repeatPenalty,
          seed,
          stop,
          stopIds,
          ignoreEnd);
    }
  }
}
