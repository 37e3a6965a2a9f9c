package org.nanomodel.generate;

import java.util.Objects;
import org.nanomodel.ops.Cancel;

/**
 * One text to continue.
 *
 * @param prompt its tokens, at least one
 * @param listener sees each new token, of all answers if there are several; one that throws ends
 *     its own answer only
 * @param cancel raise it from any thread to end this request within a token
 */
public record Request(
    int[] prompt, GenerateOptions options, TokenListener listener, Cancel cancel) {
  private static final TokenListener NOBODY = id -> true;

  public Request {
    Objects.requireNonNull(options);
    Objects.requireNonNull(listener);
    Objects.requireNonNull(cancel);
    if (prompt.length == 0) {
      throw new IllegalArgumentException(
          "the prompt has no tokens, expected at least one (a begin token, for instance)");
    }
  }

  public static Request of(int[] prompt, GenerateOptions options) {
    return new Request(prompt, options, NOBODY, new Cancel());
  }
}
