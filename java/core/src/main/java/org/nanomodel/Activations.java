package org.nanomodel;

import java.util.Locale;

/** How the input of a linear meets integer weights; float weights take it as it is. */
public enum Activations {
  /** As the checkpoint says: {@link #INT8} for W8A8 and W4A8, else {@link #NEAR_EXACT}. */
  AUTO,
  /** In float32, not rounded. */
  EXACT,
  /** Rounded to 16 bits in blocks of at most 256 columns. */
  NEAR_EXACT,
  /**
   * Rounded to 8 bits: a scale a token where the checkpoint says so, else a scale for each group of
   * columns.
   */
  INT8,
  /** The same with 4 bits. */
  INT4;

  public static Activations parse(String name) {
    for (var activations : values()) {
      if (activations.toString().equalsIgnoreCase(name)) {
        return activations;
      }
    }
    throw new IllegalArgumentException(
        "unknown activations '" + name + "': expected auto, exact, near-exact, int8 or int4");
  }

  /** {@code near-exact} ...: as the command line and the environment have it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
