package org.nanomodel.generate;

import java.util.List;

/**
 * What was generated.
 *
 * @param ids the new tokens only, end token included
 * @param finishReason why it ended
 * @param promptTokens tokens of the prompt
 * @param prefillMs until the first new token
 * @param decodeMs from the first new token to the last
 */
public record GenerateResult(
    List<Integer> ids,
    FinishReason finishReason,
    int promptTokens,
    double prefillMs,
    double decodeMs) {

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
