package org.nanomodel.generate;

import java.util.List;

/**
 * What was generated.
 *
 * @param text whole characters, up to the first stop text; null where the model has no tokenizer
 * @param ids the new tokens only, end token included
 * @param finishReason why it ended
 * @param promptTokens tokens of the prompt
 * @param queueMs from submission until its prompt began to be read
 * @param prefillMs from then until the first new token
 * @param decodeMs from the first new token to the last
 * @param logprobs one of each token, if they were asked for; else empty
 */
public record GenerateResult(
    String text,
    List<Integer> ids,
    FinishReason finishReason,
    int promptTokens,
    double queueMs,
    double prefillMs,
    double decodeMs,
    List<TokenLogprobs> logprobs) {

  public GenerateResult {
    ids = List.copyOf(ids);
    logprobs = List.copyOf(logprobs);
  }

  public int completionTokens() {
    return ids.size();
  }

  /** Tokens per second after the first; 0 when there was one at most. */
  public double decodeTps() {
    return ids.size() > 1 && decodeMs > 0 ? (ids.size() - 1) * 1000.0 / decodeMs : 0;
  }

  public int[] idArray() {
    return ids.stream().mapToInt(Integer::intValue).toArray();
  }
}
