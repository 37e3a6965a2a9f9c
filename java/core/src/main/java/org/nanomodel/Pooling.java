package org.nanomodel;

/** How the vectors of a text's tokens become one vector. */
public enum Pooling {
  /** That of the last token, which has seen all others. */
  LAST,
  /** The mean over all tokens. */
  MEAN
}
