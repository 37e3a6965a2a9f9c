package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Cutting texts as Python's str.split and its relatives do. */
final class Splitting {
  private static final String LINE_ENDS = "\n\r\u000b\f\u001c\u001d\u001e\u0085\u2028\u2029";

  private Splitting() {}

  static List<Object> split(String s, Args args, Budget budget) {
    String separator = args.atMost(2).text(0, "sep", null);
    int most = limit(args);
    List<Object> parts = new ArrayList<>();
    if (separator == null) {
      words(s, most, parts, budget);
      return parts;
    }
    check(separator);
    budget.search(s.length(), separator.length());
    int from = 0;
    for (int at; parts.size() < most && (at = s.indexOf(separator, from)) >= 0; ) {
      parts.add(s.substring(from, at));
      budget.work(64);
      from = at + separator.length();
    }
    parts.add(s.substring(from));
    return parts;
  }

  /** From the end, so that the limit leaves the beginning whole. */
  static List<Object> rsplit(String s, Args args, Budget budget) {
    String separator = args.atMost(2).text(0, "sep", null);
    int most = limit(args);
    List<Object> parts = new ArrayList<>();
    if (separator == null) {
      lastWords(s, most, parts, budget);
    } else {
      check(separator);
      budget.search(s.length(), separator.length());
      int to = s.length();
      for (int at;
          parts.size() < most && (at = s.lastIndexOf(separator, to - separator.length())) >= 0; ) {
        parts.add(s.substring(at + separator.length(), to));
        budget.work(64);
        to = at;
      }
      parts.add(s.substring(0, to));
    }
    Collections.reverse(parts);
    return parts;
  }

  private static int limit(Args args) {
    int most = args.integer(1, "maxsplit", -1);
    return most < 0 ? Integer.MAX_VALUE : most;
  }

  private static void check(String separator) {
    if (separator.isEmpty()) {
      throw new Fault("split: the separator is empty");
    }
  }

  private static void words(String s, int most, List<Object> parts, Budget budget) {
    int from = Chars.skipSpace(s, 0);
    while (from < s.length()) {
      int to = from;
      while (to < s.length() && !Chars.isSpace(s.charAt(to))) {
        to++;
      }
      if (parts.size() == most) {
        parts.add(s.substring(from, Chars.stripEnd(s)));
        return;
      }
      parts.add(s.substring(from, to));
      budget.work(64);
      from = Chars.skipSpace(s, to);
    }
  }

  private static void lastWords(String s, int most, List<Object> parts, Budget budget) {
    int to = Chars.stripEnd(s);
    while (to > 0) {
      int from = to;
      while (from > 0 && !Chars.isSpace(s.charAt(from - 1))) {
        from--;
      }
      if (parts.size() == most) {
        parts.add(s.substring(Chars.skipSpace(s, 0), to));
        return;
      }
      parts.add(s.substring(from, to));
      budget.work(64);
      to = from;
      while (to > 0 && Chars.isSpace(s.charAt(to - 1))) {
        to--;
      }
    }
  }

  static List<String> lines(String s, boolean keepEnds) {
    List<String> lines = new ArrayList<>();
    int from = 0;
    for (int i = 0; i < s.length(); i++) {
      if (LINE_ENDS.indexOf(s.charAt(i)) >= 0) {
        int end = s.startsWith("\r\n", i) ? i + 2 : i + 1;
        lines.add(s.substring(from, keepEnds ? end : i));
        from = end;
        i = end - 1;
      }
    }
    if (from < s.length()) {
      lines.add(s.substring(from));
    }
    return lines;
  }

  static Object partition(String s, String separator, boolean last, Budget budget) {
    check(separator);
    budget.search(s.length(), separator.length());
    int at = last ? s.lastIndexOf(separator) : s.indexOf(separator);
    if (at < 0) {
      return last ? Tuple.of("", "", s) : Tuple.of(s, "", "");
    }
    return Tuple.of(s.substring(0, at), separator, s.substring(at + separator.length()));
  }
}
