package org.nanomodel.chat;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** {@code "%s" % value} and {@code "{}".format(value)}, as far as templates use them. */
final class Formats {
  private static final Pattern PERCENT =
      Pattern.compile(
          "%(?:\\((\\w{1,40})\\))?([-+0 ]{0,3})(\\d{0,3})(?:\\.(\\d{1,2}))?([sdifrxX%])");
  private static final Pattern BRACES = Pattern.compile("\\{\\{|\\}\\}|\\{(\\w{0,40})\\}");

  private Formats() {}

  static String percent(String format, Object values, Budget budget) {
    List<?> list =
        values instanceof Tuple tuple ? tuple : List.of(values == null ? "None" : values);
    Matcher matcher = PERCENT.matcher(format);
    StringBuilder out = new StringBuilder();
    int next = 0;
    int from = 0;
    while (matcher.find()) {
      plain(format, from, matcher.start(), out);
      from = matcher.end();
      if (matcher.group(5).equals("%")) {
        out.append('%');
        continue;
      }
      Object value;
      if (matcher.group(1) != null && values instanceof Map<?, ?> map) {
        value = map.get(matcher.group(1));
      } else if (next < list.size()) {
        value = list.get(next++);
      } else {
        throw new Fault("not enough values for the format");
      }
      out.append(one(matcher, value, budget));
      budget.text(out.length());
    }
    plain(format, from, format.length(), out);
    if (next < list.size() && !(values instanceof Map<?, ?>)) {
      throw new Fault("more values than the format takes");
    }
    return out.toString();
  }

  private static void plain(String format, int from, int to, StringBuilder out) {
    int stray = format.indexOf('%', from);
    if (stray >= 0 && stray < to) {
      throw new Fault("a % in the format stands for nothing that is served");
    }
    out.append(format, from, to);
  }

  private static String one(Matcher m, Object value, Budget budget) {
    String flags = m.group(2);
    String precision = m.group(4);
    String text =
        switch (m.group(5)) {
          case "s" -> cut(Printer.str(value, budget), precision);
          case "r" -> cut(Printer.repr(value, budget), precision);
          case "f" ->
              String.format(
                  Locale.ROOT,
                  "%." + (precision == null ? "6" : precision) + "f",
                  Values.number(value));
          case "x" -> Long.toHexString((long) Values.number(value));
          case "X" -> Long.toHexString((long) Values.number(value)).toUpperCase(Locale.ROOT);
          default -> Long.toString((long) Values.number(value));
        };
    boolean isNumber = "dif".contains(m.group(5));
    if (isNumber && flags.contains("+") && !text.startsWith("-")) {
      text = "+" + text;
    }
    int width = m.group(3).isEmpty() ? 0 : Integer.parseInt(m.group(3));
    int missing = Math.max(0, width - Chars.length(text));
    if (flags.contains("-")) {
      return text + " ".repeat(missing);
    }
    boolean zeros = isNumber && flags.contains("0");
    int sign = zeros && (text.startsWith("-") || text.startsWith("+")) ? 1 : 0;
    return text.substring(0, sign) + (zeros ? "0" : " ").repeat(missing) + text.substring(sign);
  }

  private static String cut(String text, String precision) {
    if (precision == null || Chars.length(text) <= Integer.parseInt(precision)) {
      return text;
    }
    return text.substring(0, Chars.unit(text, Integer.parseInt(precision)));
  }

  /** {@code {}}, {@code {0}} and {@code {name}}. */
  static String braces(String format, Args args, Budget budget) {
    Matcher matcher = BRACES.matcher(format);
    StringBuilder out = new StringBuilder();
    int next = 0;
    int from = 0;
    while (matcher.find()) {
      noBrace(format, from, matcher.start());
      out.append(format, from, matcher.start());
      from = matcher.end();
      String field = matcher.group(1);
      if (field == null) {
        out.append(matcher.group().charAt(0));
        continue;
      }
      boolean place = field.isEmpty() || field.chars().allMatch(c -> c >= '0' && c <= '9');
      int index = !place ? -1 : field.isEmpty() ? next++ : Integer.parseInt("0" + cut(field, "6"));
      if (place ? index >= args.positional().size() : !args.named().containsKey(field)) {
        throw new Fault("format: no value for {" + field + "}");
      }
      Object value = place ? args.positional().get(index) : args.named().get(field);
      out.append(Printer.str(value, budget));
      budget.text(out.length());
    }
    noBrace(format, from, format.length());
    return out.append(format, from, format.length()).toString();
  }

  private static void noBrace(String format, int from, int to) {
    for (int i = from; i < to; i++) {
      if (format.charAt(i) == '{' || format.charAt(i) == '}') {
        throw new Fault("format: fields other than {}, {0} and {name} are not served");
      }
    }
  }
}
