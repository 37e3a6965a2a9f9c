package org.nanomodel.generate;

import java.util.List;
import java.util.Map;
import org.nanomodel.ops.Sampling;

/**
 * How a text is continued.
 *
 * @param maxTokens the most new tokens; the context may end it earlier
 * @param sampling temperature 0 (greedy, the default), top k, top p, min p
 * @param repeatPenalty logits of tokens that occurred are divided by it (multiplied if negative;
 *     Keskar et al. 2019); 1 = off
 * @param presencePenalty is subtracted from the logits of tokens that the answer has already; 0 =
 *     off
 * @param frequencyPenalty is subtracted from them once for each time they occurred; 0 = off
 * @param logitBias is added to the logits of these tokens, before the penalties; negative infinity
 *     bans one
 * @param logprobs -1 = none, 0 = of the tokens of the answer, N = also of the N likeliest at each
 *     place
 * @param n how many answers to the same prompt; the i-th (from 0) is the one that seed + i gives
 * @param seed of the request's own random stream, whatever else runs beside it
 * @param stop texts that end the answer and are not part of it; they need a tokenizer
 * @param stopIds tokens that end it, besides the model's own end tokens
 * @param ignoreEnd whether the model's own end tokens are taken as any other
 */
public record GenerateOptions(
    int maxTokens,
    Sampling sampling,
    float repeatPenalty,
    float presencePenalty,
    float frequencyPenalty,
    Map<Integer, Float> logitBias,
    int logprobs,
    int n,
    long seed,
    List<String> stop,
    List<Integer> stopIds,
    boolean ignoreEnd) {
  /** The most answers to one prompt. */
  public static final int MAX_N = 128;

  public GenerateOptions {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("max_tokens = " + maxTokens + ", expected 1 or more");
    }
    if (!(repeatPenalty > 0) || repeatPenalty == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException(
          "repeat_penalty = " + repeatPenalty + ", expected above 0 (1 = off)");
    }
    requireFinite("presence_penalty", presencePenalty);
    requireFinite("frequency_penalty", frequencyPenalty);
    logitBias = Map.copyOf(logitBias);
    logitBias.forEach(GenerateOptions::requireBias);
    if (logprobs < -1) {
      throw new IllegalArgumentException("logprobs = " + logprobs + ", expected -1 (none) or more");
    }
    if (n < 1 || n > MAX_N) {
      throw new IllegalArgumentException("n = " + n + ", expected 1 to " + MAX_N);
    }
    stop = List.copyOf(stop);
    stopIds = List.copyOf(stopIds);
    if (stop.contains("")) {
      throw new IllegalArgumentException("an empty stop text would end every answer at once");
    }
  }

  private static void requireFinite(String name, float value) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(name + " = " + value + ", expected a finite number");
    }
  }

  private static void requireBias(int id, float bias) {
    if (id < 0 || Float.isNaN(bias) || bias == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException(
          "logit_bias " + id + ": " + bias + ", expected a token id and a number below infinity");
    }
  }

  /** The same for the {@code i}-th of several answers. */
  GenerateOptions sample(int i) {
    return new GenerateOptions(
        maxTokens,
        sampling,
        repeatPenalty,
        presencePenalty,
        frequencyPenalty,
        logitBias,
        logprobs,
        1,
        seed + i,
        stop,
        stopIds,
        ignoreEnd);
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
    private float presencePenalty;
    private float frequencyPenalty;
    private Map<Integer, Float> logitBias = Map.of();
    private int logprobs = -1;
    private int n = 1;
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

    /** 0 = off. */
    public Builder presencePenalty(double value) {
      presencePenalty = (float) value;
      return this;
    }

    /** 0 = off. */
    public Builder frequencyPenalty(double value) {
      frequencyPenalty = (float) value;
      return this;
    }

    public Builder logitBias(Map<Integer, Float> biases) {
      logitBias = biases;
      return this;
    }

    /** -1 = none, 0 = of the chosen tokens, N = also of the N likeliest. */
    public Builder logprobs(int value) {
      logprobs = value;
      return this;
    }

    /** 1 = one answer. */
    public Builder n(int value) {
      n = value;
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
          presencePenalty,
          frequencyPenalty,
          logitBias,
          logprobs,
          n,
          seed,
          stop,
          stopIds,
          ignoreEnd);
    }
  }
}
