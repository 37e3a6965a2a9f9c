package org.nanomodel.tokenizer;

import java.util.Arrays;

/**
 * Turns tokens into text one at a time, as they are generated. A piece is whole Unicode characters:
 * an emoji that is split over three tokens comes with the third. All pieces joined equal the
 * decoding of all tokens at once.
 *
 * <p>A token cannot be decoded on its own (the space before a word, bytes of one character). So a
 * window is decoded twice, with and without the new tokens, and the difference is the piece; the
 * window begins where the piece before the last one began. Text that ends in U+FFFD may be half a
 * character and waits. Byte tokens wait for the end of their run, since decoders judge a run of
 * bytes as a whole.
 */
public final class TokenStream {
  private static final int CONTEXT = 16; // tokens; some beginning of a word is among them

  private final Tokenizer tokenizer;
  private final boolean skipSpecial;
  private final StringBuilder text = new StringBuilder();
  private int[] ids = new int[64];
  private int size;
  private int from; // the window: ids[from..size)
  private int read; // ids[..read) are in the text already

  private final String contextText;

  TokenStream(Tokenizer tokenizer, boolean skipSpecial, int[] context) {
    this.tokenizer = tokenizer;
    this.skipSpecial = skipSpecial;
    for (int i = Math.max(0, context.length - CONTEXT); i < context.length; i++) {
      ids[size++] = context[i];
    }
    read = size;
    contextText = decode(0, size);
  }

  /** Adds a token whose text is to come with {@link #finish}. */
  public void hold(int id) {
    if (size == ids.length) {
      ids = Arrays.copyOf(ids, 2 * size);
    }
    ids[size++] = id;
  }

  /** The text that this token completes; empty while a character is unfinished. */
  public String add(int id) {
    hold(id);
    if (tokenizer.isByteToken(id) || (skipSpecial && tokenizer.isSpecial(id))) {
      return "";
    }
    String before = decode(from, read);
    String after = decode(from, size);
    if (after.length() <= before.length()
        || after.endsWith("\uFFFD")
        || !after.startsWith(before)) {
      return "";
    }
    if (!before.isEmpty() || from == read) {
      from = read;
    }
    read = size;
    return take(after.substring(before.length()));
  }

  /** What was still held back. Call it once, after the last token. */
  public String finish() {
    String all = decode(0, size);
    read = size;
    String known = contextText + text;
    if (!all.startsWith(known)) { // the answer completes the last character of the context
      known = contextText.replaceAll("\uFFFD+$", "") + text;
    }
    return all.startsWith(known) ? take(all.substring(known.length())) : "";
  }

  /** All text so far. */
  public String text() {
    return text.toString();
  }

  private String take(String piece) {
    text.append(piece);
    return piece;
  }

  private String decode(int start, int end) {
    return start == end ? "" : tokenizer.decode(Arrays.copyOfRange(ids, start, end), skipSpecial);
  }
}
