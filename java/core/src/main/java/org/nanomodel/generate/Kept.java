package org.nanomodel.generate;

import java.util.Arrays;
import org.nanomodel.model.KvCache;
import org.nanomodel.model.Sequence;

/** The sequence of the last answer, for a prompt that begins with the same tokens. */
final class Kept implements AutoCloseable {
  private Sequence sequence;
  private int[] tokens = {};

  /** Takes over a sequence, whose keys and values are those of the first of {@code tokens}. */
  void keep(Sequence sequence, int[] tokens) {
    close();
    this.sequence = sequence;
    this.tokens = Arrays.copyOf(tokens, sequence.length());
  }

  /** A sequence of the longest beginning of the prompt that is known, its last token excepted. */
  Sequence take(KvCache cache, int[] prompt, int count) {
    if (sequence == null) {
      return cache.newSequence();
    }
    int known = Math.min(tokens.length, count - 1);
    int differ = Arrays.mismatch(tokens, 0, known, prompt, 0, known);
    Sequence taken = sequence;
    sequence = null;
    taken.truncate(differ < 0 ? known : differ);
    return taken;
  }

  @Override
  public void close() {
    if (sequence != null) {
      sequence.close();
      sequence = null;
    }
  }
}
