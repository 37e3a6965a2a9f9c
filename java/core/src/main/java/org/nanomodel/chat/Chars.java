package org.nanomodel.chat;

/** Characters as Python sees them: a text is code points, not UTF-16 units. */
final class Chars {
  private Chars() {}

  static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  /** What Python's str.isspace says. */
  static boolean isSpace(int c) {
    return c <= ' '
        ? c == ' ' || c >= 9 && c <= 13 || c >= 0x1c && c <= 0x1f
        : c == 0x85 || c == 0xa0 || c >= 0x1680 && Character.isSpaceChar(c);
  }

  /** Is the text from here on at least one character, all of it space? */
  static boolean isSpace(String text, int from) {
    return from < text.length() && skipSpace(text, from) == text.length();
  }

  static int skipSpace(String text, int from) {
    int i = from;
    while (i < text.length() && isSpace(text.charAt(i))) {
      i++;
    }
    return i;
  }

  /** Where the space at the end begins. */
  static int stripEnd(String text) {
    int end = text.length();
    while (end > 0 && isSpace(text.charAt(end - 1))) {
      end--;
    }
    return end;
  }

  static int length(String text) {
    return text.codePointCount(0, text.length());
  }

  /** The place of a code point in UTF-16 units. */
  static int unit(String text, int codePoint) {
    return text.offsetByCodePoints(0, codePoint);
  }

  static String of(int codePoint) {
    return Character.toString(codePoint);
  }
}
