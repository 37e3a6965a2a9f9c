package org.nanomodel.generate;

import java.util.Locale;

/** Why a generation ended. */
public enum FinishReason {
  /** An end token, a stop token, or the listener's wish. */
  STOP,
  /** The most tokens that were asked for, or the end of the context. */
  LENGTH,
  CANCEL;

  /** As JSON has it: {@code stop}, {@code length}, {@code cancel}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
