package org.nanomodel.evaluate;

import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * What exactly a perplexity is: which tokens stand before a scored token, and which are scored.
 * Figures of different protocols cannot be compared.
 */
public enum Protocol {
  /** Every row on its own; all its positions but the first are scored. */
  ROWS("rows"),
  /**
   * One token stream, cut into windows that do not overlap; all positions of each but the first are
   * scored.
   */
  WINDOWS("windows"),
  /**
   * One token stream, windows moved by a stride; what the window before did not score is scored.
   */
  SLIDING("sliding"),
  /**
   * GPTQModel's own figure: long rows joined, BOS first in each window, the second half of each
   * scored.
   */
  GPTQMODEL("gptqmodel"),
  /**
   * llama.cpp's perplexity tool: BOS first in each window if the model wants one, the second half
   * scored.
   */
  LLAMA_CPP("llama.cpp");

  private final String value;

  Protocol(String value) {
    this.value = value;
  }

  /** The name on the command line and in JSON. */
  public String value() {
    return value;
  }

  /** The protocol of a name; an unknown one is refused with the list. */
  public static Protocol of(String name) {
    return Arrays.stream(values())
        .filter(protocol -> protocol.value.equalsIgnoreCase(name))
        .findFirst()
        .orElseThrow(() ->
            new IllegalArgumentException(
                "unknown protocol '" + name + "': expected one of " + names()));
  }

  private static String names() {
    return Arrays.stream(values()).map(Protocol::value).collect(Collectors.joining(", "));
  }

  @Override
  public String toString() {
    return value;
  }
}
