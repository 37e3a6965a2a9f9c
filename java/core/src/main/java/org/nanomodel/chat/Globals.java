package org.nanomodel.chat;

import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The functions that every template can call. */
final class Globals {
  private Globals() {}

  static void define(Scope scope, Budget budget, LocalDateTime now) {
    scope.set(
        "raise_exception",
        (Callable)
            args -> {
              throw new Refusal(Printer.str(args.require(0, "message"), budget));
            });
    scope.set("strftime_now", (Callable) args -> strftime(args.text(0, "format"), now, budget));
    scope.set("range", (Callable) args -> range(args.atMost(3)));
    scope.set("namespace", (Callable) args -> namespace(args));
    scope.set("dict", (Callable) args -> map(args));
    scope.set(
        "joiner",
        (Callable)
            args -> {
              boolean[] used = {false};
              String separator = args.text(0, "sep", ", ");
              return (Callable)
                  _ -> {
                    boolean first = !used[0];
                    used[0] = true;
                    return first ? "" : separator;
                  };
            });
  }

  /** A template refuses what it was given, by raise_exception. */
  static final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Refusal(String message) {
      super(message, null, false, false);
    }
  }

  private static Map<Object, Object> map(Args args) {
    Map<Object, Object> map = new LinkedHashMap<>();
    if (!args.positional().isEmpty()) {
      switch (args.positional().getFirst()) {
        case Map<?, ?> given -> map.putAll(given);
        case List<?> pairs -> {
          for (Object pair : pairs) {
            if (!(pair instanceof List<?> two) || two.size() != 2) {
              throw new Fault("a map is made of pairs");
            }
            map.put(Operators.key(two.get(0)), two.get(1));
          }
        }
        case null, default -> throw new Fault("a map is made of pairs, or of another map");
      }
    }
    map.putAll(args.named());
    return map;
  }

  private static Namespace namespace(Args args) {
    var space = new Namespace();
    map(args).forEach((key, value) -> space.values().put(Values.text(key), value));
    return space;
  }

  private static List<Object> range(Args args) {
    boolean one = args.positional().size() == 1;
    long from = one ? 0 : Values.integer(args.require(0, "start"));
    long to = Values.integer(args.require(one ? 0 : 1, "stop"));
    long step = args.integer(2, "step", 1);
    if (step == 0) {
      throw new Fault("range: the step is 0");
    }
    long count = Math.max(0, Math.ceilDiv(to - from, step));
    if (count > Budget.MAX_RANGE) {
      throw Fault.of("range: %,d elements, more than %,d", count, Budget.MAX_RANGE);
    }
    List<Object> all = new ArrayList<>((int) count);
    for (long i = 0; i < count; i++) {
      all.add(from + i * step);
    }
    return all;
  }

  /** Python's strftime in its C locale. */
  private static String strftime(String format, LocalDateTime now, Budget budget) {
    budget.text(20L * format.length());
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      if (c != '%' || i + 1 == format.length()) {
        out.append(c);
        continue;
      }
      char code = format.charAt(++i);
      boolean plain = code == '-' && i + 1 < format.length();
      String field = field(plain ? format.charAt(++i) : code, now);
      out.append(plain && field.length() > 1 && field.startsWith("0") ? field.substring(1) : field);
    }
    return out.toString();
  }

  private static String field(char code, LocalDateTime now) {
    String pattern =
        switch (code) {
          case 'd' -> "dd";
          case 'm' -> "MM";
          case 'y' -> "yy";
          case 'Y' -> "yyyy";
          case 'b', 'h' -> "MMM";
          case 'B' -> "MMMM";
          case 'a' -> "EEE";
          case 'A' -> "EEEE";
          case 'H' -> "HH";
          case 'I' -> "hh";
          case 'M' -> "mm";
          case 'S' -> "ss";
          case 'p' -> "a";
          case 'j' -> "DDD";
          case 'f' -> "SSSSSS";
          case 'F' -> "yyyy-MM-dd";
          case 'T', 'X' -> "HH:mm:ss";
          case 'D', 'x' -> "MM/dd/yy";
          case 'R' -> "HH:mm";
          default -> null;
        };
    if (pattern != null) {
      return DateTimeFormatter.ofPattern(pattern, Locale.US).format(now);
    }
    return switch (code) {
      case '%' -> "%";
      case 'n' -> "\n";
      case 't' -> "\t";
      case 'e' -> "%2d".formatted(now.getDayOfMonth());
      case 'u' -> Integer.toString(now.getDayOfWeek().getValue());
      case 'w' -> Integer.toString(now.getDayOfWeek().getValue() % 7);
      case 'Z', 'z' -> "";
      default -> throw new Fault("strftime_now: %" + code + " is not served");
    };
  }
}
