package org.nanomodel.generate;

/**
 * Which tokens occurred, and how often in the answer: a hash table with open addressing, so that
 * penalties cost as much as there are different tokens and a step allocates nothing.
 */
final class TokenCounts {
  private int[] ids = new int[64]; // id + 1, 0 = empty
  private int[] counts = new int[64];
  private int size;

  /** Notes a token that occurred; {@code times}: how often to count it. */
  void add(int id, int times) {
    if (2 * size >= ids.length) {
      grow();
    }
    int at = slot(id);
    if (ids[at] == 0) {
      ids[at] = id + 1;
      size++;
    }
    counts[at] += times;
  }

  private int slot(int id) {
    int mask = ids.length - 1;
    int at = id * 0x9E3779B9 >>> 7 & mask;
    while (ids[at] != 0 && ids[at] != id + 1) {
      at = at + 1 & mask;
    }
    return at;
  }

  private void grow() {
    int[] oldIds = ids;
    int[] oldCounts = counts;
    ids = new int[2 * oldIds.length];
    counts = new int[ids.length];
    for (int i = 0; i < oldIds.length; i++) {
      if (oldIds[i] != 0) {
        int at = slot(oldIds[i] - 1);
        ids[at] = oldIds[i];
        counts[at] = oldCounts[i];
      }
    }
  }

  /** Places of the table, some of them empty. */
  int slots() {
    return ids.length;
  }

  /** The token at a place; -1 = none. */
  int id(int slot) {
    return ids[slot] - 1;
  }

  int count(int slot) {
    return counts[slot];
  }
}
