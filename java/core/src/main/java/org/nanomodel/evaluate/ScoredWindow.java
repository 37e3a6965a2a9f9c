package org.nanomodel.evaluate;

/**
 * Tokens that are run together, and which of them are scored.
 *
 * @param ids the tokens
 * @param from the first scored position, at least 1: what stands before is context
 * @param to one more than the last scored position
 */
record ScoredWindow(int[] ids, int from, int to) {
  ScoredWindow {
    if (from < 1 || to > ids.length || from > to) {
      throw new IllegalArgumentException(
          "window of %d tokens scored from %d to %d".formatted(ids.length, from, to));
    }
  }

  static ScoredWindow whole(int[] ids) {
    return new ScoredWindow(ids, 1, ids.length);
  }

  int scored() {
    return to - from;
  }
}
