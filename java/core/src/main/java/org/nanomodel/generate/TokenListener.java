package org.nanomodel.generate;

/** Sees each new token as soon as it is drawn, on the generating thread. */
@FunctionalInterface
public interface TokenListener {
  /** Returns whether to go on; false ends the generation with {@link FinishReason#STOP}. */
  boolean onToken(int id);
}
