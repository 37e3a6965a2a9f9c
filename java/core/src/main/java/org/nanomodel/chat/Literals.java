package org.nanomodel.chat;

/** Constants as Python spells them. */
final class Literals {
  private static final String SIMPLE = "\\'\"abfnrtv";
  private static final String MEANING = "\\'\"\u0007\b\f\n\r\t\u000b";

  private Literals() {}

  /**
   * @param end the place after it
   */
  record Literal(Object value, int end) {}

  static Literal string(String source, int start, int line) {
    char quote = source.charAt(start);
    StringBuilder out = new StringBuilder();
    int i = start + 1;
    while (i < source.length() && source.charAt(i) != quote) {
      char c = source.charAt(i++);
      if (c == '\\' && i < source.length()) {
        i = escape(source, i, out, line);
      } else {
        out.append(c);
      }
    }
    if (i >= source.length()) {
      throw new TemplateException("the string has no end", line);
    }
    return new Literal(out.toString(), i + 1);
  }

  private static int escape(String source, int i, StringBuilder out, int line) {
    char c = source.charAt(i);
    if (c == '\n') {
      return i + 1;
    }
    if (SIMPLE.indexOf(c) >= 0) {
      out.append(MEANING.charAt(SIMPLE.indexOf(c)));
      return i + 1;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
      out.appendCodePoint(code(source, i + 1, digits, 16, line));
      return i + 1 + digits;
    }
    int octal = 0;
    while (octal < 3
        && i + octal < source.length()
        && "01234567".indexOf(source.charAt(i + octal)) >= 0) {
      octal++;
    }
    if (octal > 0) {
      out.appendCodePoint(code(source, i, octal, 8, line));
      return i + octal;
    }
    out.append('\\').append(c);
    return i + 1;
  }

  private static int code(String source, int from, int digits, int radix, int line) {
    try {
      int code = Integer.parseInt(source, from, from + digits, radix);
      if (Character.isValidCodePoint(code) && source.charAt(from) != '+') {
        return code;
      }
    } catch (NumberFormatException | IndexOutOfBoundsException e) {
      // told below
    }
    throw new TemplateException("an escape in the string names no character", line);
  }

  static Literal number(String source, int start, int line) {
    int end = digits(source, start);
    boolean whole = true;
    if (end + 1 < source.length()
        && source.charAt(end) == '.'
        && Chars.isDigit(source.charAt(end + 1))) {
      whole = false;
      end = digits(source, end + 1);
    }
    if (end < source.length() && "eE".indexOf(source.charAt(end)) >= 0) {
      int exponent = end + 1;
      if (exponent < source.length() && "+-".indexOf(source.charAt(exponent)) >= 0) {
        exponent++;
      }
      if (exponent < source.length() && Chars.isDigit(source.charAt(exponent))) {
        whole = false;
        end = digits(source, exponent);
      }
    }
    String text = source.substring(start, end).replace("_", "");
    try {
      return new Literal(
          whole ? (Object) Long.parseLong(text) : (Object) Double.parseDouble(text), end);
    } catch (NumberFormatException e) {
      throw new TemplateException("the number is too large", line);
    }
  }

  private static int digits(String source, int from) {
    int i = from;
    while (i < source.length() && (Chars.isDigit(source.charAt(i)) || source.charAt(i) == '_')) {
      i++;
    }
    return i;
  }
}
