package org.nanomodel.checkpoint;

/** Text from a file made safe for one line of a log. */
final class Escaped {
  private static final int MAX = 80;

  private Escaped() {}

  static String of(String text) {
    var out = new StringBuilder("'");
    text.codePoints()
        .limit(MAX)
        .forEach(c -> {
          if (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT) {
            out.append(String.format("\\u%04x", c));
          } else {
            out.appendCodePoint(c);
          }
        });
    return out.append(text.length() > MAX ? "...'" : "'").toString();
  }
}
