package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.IntPredicate;

/** The methods of Python's str that templates use. */
final class TextMethods {
  private static final Set<String> NAMES =
      Set.of(
          "capitalize",
          "casefold",
          "center",
          "count",
          "endswith",
          "find",
          "format",
          "index",
          "isalnum",
          "isalpha",
          "isascii",
          "isdecimal",
          "isdigit",
          "islower",
          "isnumeric",
          "isspace",
          "isupper",
          "join",
          "ljust",
          "lower",
          "lstrip",
          "partition",
          "removeprefix",
          "removesuffix",
          "replace",
          "rfind",
          "rindex",
          "rjust",
          "rpartition",
          "rsplit",
          "rstrip",
          "split",
          "splitlines",
          "startswith",
          "strip",
          "swapcase",
          "title",
          "upper",
          "zfill");

  private TextMethods() {}

  static boolean known(String name) {
    return NAMES.contains(name);
  }

  static Object call(String name, String s, Args args, Budget budget) {
    budget.text(s.length());
    return switch (name) {
      case "strip" -> strip(s, args.atMost(1).text(0, "chars", null), true, true);
      case "lstrip" -> strip(s, args.atMost(1).text(0, "chars", null), true, false);
      case "rstrip" -> strip(s, args.atMost(1).text(0, "chars", null), false, true);
      case "split" -> Splitting.split(s, args, budget);
      case "rsplit" -> Splitting.rsplit(s, args, budget);
      case "splitlines" ->
          new ArrayList<Object>(Splitting.lines(s, args.flag(0, "keepends", false)));
      case "partition" -> Splitting.partition(s, args.text(0, "sep"), false, budget);
      case "rpartition" -> Splitting.partition(s, args.text(0, "sep"), true, budget);
      case "join" -> join(s, Values.elements(args.require(0, "iterable"), budget), budget);
      case "replace" ->
          replace(
              s, args.text(0, "old"), args.text(1, "new"), args.integer(2, "count", -1), budget);
      case "startswith", "endswith" -> edge(s, args, name.equals("startswith"));
      case "removeprefix" -> {
        String prefix = args.text(0, "prefix");
        yield s.startsWith(prefix) ? s.substring(prefix.length()) : s;
      }
      case "removesuffix" -> {
        String suffix = args.text(0, "suffix");
        yield s.endsWith(suffix) ? s.substring(0, s.length() - suffix.length()) : s;
      }
      case "find", "index", "rfind", "rindex" -> find(name, s, args, budget);
      case "count" -> count(s, args.text(0, "sub"), budget);
      case "format" -> Formats.braces(s, args, budget);
      case "center", "ljust", "rjust", "zfill" -> pad(name, s, args, budget);
      default -> name.startsWith("is") ? is(name, s) : cased(name, s);
    };
  }

  private static String cased(String name, String s) {
    return switch (name) {
      case "upper" -> s.toUpperCase(Locale.ROOT);
      case "capitalize" -> capitalize(s);
      case "title" -> title(s);
      case "swapcase" -> {
        StringBuilder out = new StringBuilder();
        s.codePoints()
            .mapToObj(Chars::of)
            .map(c ->
                c.equals(c.toUpperCase(Locale.ROOT))
                    ? c.toLowerCase(Locale.ROOT)
                    : c.toUpperCase(Locale.ROOT))
            .forEach(out::append);
        yield out.toString();
      }
      default -> s.toLowerCase(Locale.ROOT);
    };
  }

  static String capitalize(String s) {
    if (s.isEmpty()) {
      return s;
    }
    int first = s.offsetByCodePoints(0, 1);
    return Chars.of(Character.toTitleCase(s.codePointAt(0)))
        + s.substring(first).toLowerCase(Locale.ROOT);
  }

  /** A capital after everything that is no letter. */
  private static String title(String s) {
    StringBuilder out = new StringBuilder();
    boolean inside = false;
    for (int c : s.codePoints().toArray()) {
      out.appendCodePoint(inside ? Character.toLowerCase(c) : Character.toTitleCase(c));
      inside = Character.isLetter(c);
    }
    return out.toString();
  }

  static String strip(String s, String chars, boolean left, boolean right) {
    IntPredicate drop = chars == null ? Chars::isSpace : c -> chars.indexOf(c) >= 0;
    int from = 0;
    int to = s.length();
    while (left && from < to && drop.test(s.codePointAt(from))) {
      from += Character.charCount(s.codePointAt(from));
    }
    while (right && to > from && drop.test(s.codePointBefore(to))) {
      to -= Character.charCount(s.codePointBefore(to));
    }
    return s.substring(from, to);
  }

  static String join(String separator, List<Object> parts, Budget budget) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < parts.size(); i++) {
      out.append(i > 0 ? separator : "").append(Values.text(parts.get(i)));
      if (out.length() > Budget.MAX_TEXT) {
        break;
      }
    }
    budget.text(out.length());
    return out.toString();
  }

  static String replace(String s, String old, String by, int most, Budget budget) {
    budget.search(s.length(), old.length());
    StringBuilder out = new StringBuilder();
    int from = 0;
    int done = 0;
    while (most < 0 || done < most) {
      int at = old.isEmpty() ? nextGap(s, from, done) : s.indexOf(old, from);
      if (at < 0) {
        break;
      }
      out.append(s, from, at).append(by);
      budget.text(by.length());
      if (out.length() > Budget.MAX_TEXT) {
        break;
      }
      from = at + old.length();
      done++;
    }
    out.append(s, from, s.length());
    budget.text(out.length());
    return out.toString();
  }

  /** An empty text is found before, between and after the characters. */
  private static int nextGap(String s, int from, int done) {
    return done == 0 ? 0 : from >= s.length() ? -1 : s.offsetByCodePoints(from, 1);
  }

  private static boolean edge(String s, Args args, boolean start) {
    Object wanted = args.require(0, "prefix");
    if (wanted instanceof Tuple tuple) {
      return tuple.stream()
          .map(Values::text)
          .anyMatch(text -> start ? s.startsWith(text) : s.endsWith(text));
    }
    String text = Values.text(wanted);
    return start ? s.startsWith(text, start(s, args)) : s.endsWith(text);
  }

  private static int start(String s, Args args) {
    int from = args.integer(1, "start", 0);
    int length = Chars.length(s);
    return Chars.unit(s, Math.clamp(from < 0 ? from + length : from, 0, length));
  }

  private static Object find(String name, String s, Args args, Budget budget) {
    String wanted = args.text(0, "sub");
    budget.search(s.length(), wanted.length());
    int at = name.startsWith("r") ? s.lastIndexOf(wanted) : s.indexOf(wanted, start(s, args));
    if (at < 0 && name.endsWith("index")) {
      throw new Fault("index: the text is not there");
    }
    return at < 0 ? -1L : (long) s.codePointCount(0, at);
  }

  private static Object count(String s, String wanted, Budget budget) {
    budget.search(s.length(), wanted.length());
    if (wanted.isEmpty()) {
      return Chars.length(s) + 1L;
    }
    long count = 0;
    for (int at = s.indexOf(wanted); at >= 0; at = s.indexOf(wanted, at + wanted.length())) {
      count++;
    }
    return count;
  }

  private static Object pad(String name, String s, Args args, Budget budget) {
    int width = args.integer(0, "width", 0);
    budget.text(width);
    String fill = name.equals("zfill") ? "0" : args.text(1, "fillchar", " ");
    int missing = Math.max(0, width - Chars.length(s));
    if (Chars.length(fill) != 1) {
      throw new Fault(name + " fills with one character");
    }
    int left =
        switch (name) {
          case "ljust" -> 0;
          case "center" -> missing / 2 + (missing & width & 1);
          default -> missing;
        };
    int sign = name.equals("zfill") && (s.startsWith("-") || s.startsWith("+")) ? 1 : 0;
    return s.substring(0, sign)
        + fill.repeat(left)
        + s.substring(sign)
        + fill.repeat(missing - left);
  }

  private static boolean is(String name, String s) {
    return switch (name) {
      case "isascii" -> all(s, c -> c < 128, true);
      case "isspace" -> all(s, Chars::isSpace, false);
      case "isalpha" -> all(s, Character::isLetter, false);
      case "isalnum" -> all(s, Character::isLetterOrDigit, false);
      case "isdigit", "isdecimal", "isnumeric" -> all(s, Character::isDigit, false);
      case "isupper" ->
          s.equals(s.toUpperCase(Locale.ROOT)) && !s.equals(s.toLowerCase(Locale.ROOT));
      default -> s.equals(s.toLowerCase(Locale.ROOT)) && !s.equals(s.toUpperCase(Locale.ROOT));
    };
  }

  private static boolean all(String s, IntPredicate test, boolean ifEmpty) {
    return s.isEmpty() ? ifEmpty : s.codePoints().allMatch(test);
  }
}
