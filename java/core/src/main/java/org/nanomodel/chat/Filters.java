package org.nanomodel.chat;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** What stands behind the bar: filters of one value. Those of sequences are {@link ListFilters}. */
final class Filters {
  private static final Set<String> NAMES =
      Set.of(
          "abs",
          "attr",
          "capitalize",
          "center",
          "count",
          "d",
          "default",
          "e",
          "escape",
          "float",
          "forceescape",
          "format",
          "indent",
          "int",
          "length",
          "lower",
          "replace",
          "round",
          "safe",
          "string",
          "title",
          "tojson",
          "trim",
          "upper",
          "wordcount");

  private final Budget budget;
  private final Operators operators;
  private final Attributes attributes;
  private final ListFilters lists;

  Filters(Budget budget, Operators operators, Attributes attributes) {
    this.budget = budget;
    this.operators = operators;
    this.attributes = attributes;
    this.lists = new ListFilters(budget, operators, attributes, this);
  }

  static boolean known(String name) {
    return NAMES.contains(name) || ListFilters.known(name);
  }

  Object apply(String name, Object value, Args args) {
    if (ListFilters.known(name)) {
      return lists.apply(name, value, args);
    }
    return switch (name) {
      case "default", "d" -> {
        boolean replace =
            value instanceof Undefined
                || args.atMost(2).flag(1, "boolean", false) && !Values.truth(value);
        yield replace ? args.get(0, "default_value", "") : value;
      }
      case "length", "count" -> Values.length(value);
      case "tojson" -> JsonText.of(value, args, budget);
      case "attr" -> attributes.get(value, args.text(0, "name"));
      case "abs" ->
          Values.number(value) < 0 ? operators.unary("-", value) : operators.unary("+", value);
      case "int" -> integer(value, args);
      case "float" -> floating(value, args);
      case "round" -> round(value, args);
      case "string", "safe" -> Printer.str(value, budget);
      default -> ofText(name, Printer.str(value, budget), args);
    };
  }

  private Object ofText(String name, String s, Args args) {
    return switch (name) {
      case "trim" -> {
        budget.text(s.length());
        yield TextMethods.strip(s, args.atMost(1).text(0, "chars", null), true, true);
      }
      case "replace" ->
          TextMethods.replace(
              s,
              Printer.str(args.require(0, "old"), budget),
              Printer.str(args.require(1, "new"), budget),
              args.get(2, "count", null) == null ? -1 : args.integer(2, "count", -1),
              budget);
      case "title" -> title(s);
      case "indent" -> indent(s, args);
      case "center" ->
          TextMethods.call(
              "center",
              s,
              new Args(List.of((long) args.integer(0, "width", 80)), Map.of()),
              budget);
      case "wordcount" -> wordCount(s);
      case "format" ->
          Formats.percent(
              s,
              args.named().isEmpty() ? new Tuple(args.positional()) : (Object) args.named(),
              budget);
      case "e", "escape", "forceescape" -> escape(s);
      default -> TextMethods.call(name, s, args.atMost(0), budget);
    };
  }

  private String escape(String s) {
    budget.text(5L * s.length());
    return s.replace("&", "&amp;")
        .replace(">", "&gt;")
        .replace("<", "&lt;")
        .replace("'", "&#39;")
        .replace("\"", "&#34;");
  }

  private static long wordCount(String s) {
    long words = 0;
    boolean inside = false;
    for (int i = 0; i < s.length(); i++) {
      boolean word = Character.isLetterOrDigit(s.charAt(i)) || s.charAt(i) == '_';
      words += word && !inside ? 1 : 0;
      inside = word;
    }
    return words;
  }

  /** A capital at the beginning of words, which space and opening brackets separate. */
  private static String title(String s) {
    StringBuilder out = new StringBuilder();
    boolean begins = true;
    for (int c : s.codePoints().toArray()) {
      boolean gap = Chars.isSpace(c) || "-({[<".indexOf(c) >= 0;
      if (gap) {
        out.appendCodePoint(c);
      } else {
        out.append(
            begins ? Chars.of(c).toUpperCase(Locale.ROOT) : Chars.of(c).toLowerCase(Locale.ROOT));
      }
      begins = gap;
    }
    return out.toString();
  }

  private String indent(String s, Args args) {
    Object width = args.atMost(3).get(0, "width", 4L);
    String pad =
        width instanceof String text
            ? text
            : " ".repeat(Math.clamp(Values.integer(width), 0, 1000));
    boolean blank = args.flag(2, "blank", false);
    StringBuilder out = new StringBuilder(args.flag(1, "first", false) ? pad : "");
    List<String> lines = Splitting.lines(s + "\n", false);
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i);
      out.append(i == 0 ? "" : "\n")
          .append(i > 0 && (blank || !line.isEmpty()) ? pad : "")
          .append(line);
      budget.work(pad.length() + line.length());
    }
    budget.text(out.length());
    return out.toString();
  }

  private static Object integer(Object value, Args args) {
    Object otherwise = args.get(0, "default", 0L);
    int base = args.integer(1, "base", 10);
    return switch (value) {
      case Undefined u -> throw u.fault();
      case Double d when !Double.isFinite(d) -> otherwise;
      case Boolean _, Long _, Double _ -> (long) Values.number(value);
      case String s -> parseInteger(s, base, otherwise);
      case null, default -> otherwise;
    };
  }

  private static Object parseInteger(String s, int base, Object otherwise) {
    String digits = TextMethods.strip(s, null, true, true);
    try {
      return Long.parseLong(digits.replace("_", ""), Math.clamp(base, 2, 36));
    } catch (NumberFormatException e) {
      Object number = parseDouble(digits, null);
      return number == null || !Double.isFinite((Double) number)
          ? otherwise
          : ((Double) number).longValue();
    }
  }

  private static Object parseDouble(String s, Object otherwise) {
    try {
      boolean plain = s.chars().allMatch(c -> "0123456789+-.eE_".indexOf(c) >= 0);
      return plain ? (Object) Double.parseDouble(s.replace("_", "")) : otherwise;
    } catch (NumberFormatException e) {
      return otherwise;
    }
  }

  private static Object floating(Object value, Args args) {
    Object otherwise = args.get(0, "default", 0.0);
    return switch (value) {
      case Undefined u -> throw u.fault();
      case Boolean _, Long _, Double _ -> Values.number(value);
      case String s -> parseDouble(TextMethods.strip(s, null, true, true), otherwise);
      case null, default -> otherwise;
    };
  }

  /** To the nearest, halves to even, as Python's round. */
  private static Object round(Object value, Args args) {
    int digits = Math.clamp(args.integer(0, "precision", 0), -300, 300);
    double number = Values.number(value);
    if (!Double.isFinite(number)) {
      return number;
    }
    var mode =
        switch (args.text(1, "method", "common")) {
          case "ceil" -> RoundingMode.CEILING;
          case "floor" -> RoundingMode.FLOOR;
          case "common" -> RoundingMode.HALF_EVEN;
          default -> throw new Fault("round: the method is common, ceil or floor");
        };
    var rounded = new BigDecimal(number).setScale(digits, mode);
    return value instanceof Long && mode == RoundingMode.HALF_EVEN
        ? (Object) rounded.longValue()
        : (Object) rounded.doubleValue();
  }
}
