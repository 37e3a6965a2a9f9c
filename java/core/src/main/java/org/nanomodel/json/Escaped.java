package org.nanomodel.json;

/** What a stranger's file says, made safe for one line of a log. */
public final class Escaped {
  private static final int MAX = 80;

  private Escaped() {}

  /** In quotes. */
  public static String of(String text) {
    return "'" + line(text) + "'";
  }

  /** At most 80 characters, those that cannot be seen as backslash u. */
  public static String line(String text) {
    var out = new StringBuilder();
    text.codePoints()
        .limit(MAX)
        .forEach(c -> {
          switch (Character.getType(c)) {
            case Character.CONTROL,
                Character.FORMAT,
                Character.LINE_SEPARATOR,
                Character.PARAGRAPH_SEPARATOR ->
                out.append(String.format("\\u%04x", c));
            default -> out.appendCodePoint(c);
          }
        });
    return out.append(text.codePointCount(0, text.length()) > MAX ? "..." : "").toString();
  }
}
