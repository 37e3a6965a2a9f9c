package org.nanomodel.chat;

/**
 * What one rendering may cost. A template comes with a model, from a stranger: it may not hang, nor
 * eat the memory.
 */
final class Budget {
  /** Evaluated expressions and statements. */
  static final long MAX_STEPS = 10_000_000;

  /** Characters of one text, the rendered one included. */
  static final int MAX_TEXT = 16 << 20;

  /** Characters and elements that are copied or looked at in all. */
  static final long MAX_WORK = 64L << 20;

  /** Elements of one range, as in jinja2's sandbox. */
  static final int MAX_RANGE = 100_000;

  /** Nested expressions, statements and macros. */
  static final int MAX_DEPTH = 250;

  private long steps;
  private long work;
  private int depth;

  void step() {
    if (++steps > MAX_STEPS) {
      throw Fault.of("takes more than %,d steps", MAX_STEPS);
    }
  }

  /** Copying or searching so many characters or elements. */
  void work(long amount) {
    work += amount;
    if (amount > MAX_WORK || work > MAX_WORK) {
      throw Fault.of("copies or searches more than %,d characters in all", MAX_WORK);
    }
  }

  /** Making a text of this length. */
  void text(long length) {
    if (length > MAX_TEXT) {
      throw Fault.of("makes a text of %,d characters, more than %,d", length, MAX_TEXT);
    }
    work(length);
  }

  /** Looking for a text of length {@code needle} in one of length {@code text}. */
  void search(long text, long needle) {
    work(text + text * needle / 64);
  }

  void enter() {
    if (++depth > MAX_DEPTH) {
      throw Fault.of("is nested more than %d levels deep", MAX_DEPTH);
    }
  }

  void leave() {
    depth--;
  }
}
