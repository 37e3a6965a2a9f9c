package org.nanomodel.chat;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;

/** Values as text: as Python's str and repr print them, and as JSON. */
final class Printer {
  private final Budget budget;
  private final StringBuilder out = new StringBuilder();
  private int charged;

  private Printer(Budget budget) {
    this.budget = budget;
  }

  /** As {@code {{ value }}} prints it. */
  static String str(Object value, Budget budget) {
    return value instanceof String s ? s : value instanceof Undefined ? "" : repr(value, budget);
  }

  static String repr(Object value, Budget budget) {
    var printer = new Printer(budget);
    printer.repr(value);
    budget.text(printer.out.length() - printer.charged);
    return printer.out.toString();
  }

  private void charge() {
    if (out.length() - charged > 4096) {
      budget.text(out.length());
      charged = out.length();
    }
  }

  private void repr(Object value) {
    charge();
    switch (value) {
      case null -> out.append("None");
      case Boolean b -> out.append(b ? "True" : "False");
      case Long n -> out.append(n);
      case BigInteger n -> out.append(n);
      case Double d -> out.append(number(d));
      case String s -> quote(s);
      case List<?> list -> list(list);
      case Map<?, ?> map -> map(map);
      case Undefined _ -> out.append("Undefined");
      case Namespace space -> {
        out.append("<Namespace ");
        map(space.values());
        out.append('>');
      }
      default -> out.append('<').append(Values.type(value)).append('>');
    }
  }

  private void list(List<?> list) {
    budget.enter();
    boolean tuple = list instanceof Tuple;
    out.append(tuple ? '(' : '[');
    for (int i = 0; i < list.size(); i++) {
      out.append(i > 0 ? ", " : "");
      repr(list.get(i));
    }
    out.append(tuple ? list.size() == 1 ? ",)" : ")" : "]");
    budget.leave();
  }

  private void map(Map<?, ?> map) {
    budget.enter();
    out.append('{');
    boolean first = true;
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      out.append(first ? "" : ", ");
      first = false;
      repr(entry.getKey());
      out.append(": ");
      repr(entry.getValue());
    }
    out.append('}');
    budget.leave();
  }

  private void quote(String text) {
    char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
    out.append(quote);
    text.codePoints()
        .forEach(c -> {
          switch (c) {
            case '\n' -> out.append("\\n");
            case '\r' -> out.append("\\r");
            case '\t' -> out.append("\\t");
            case '\\' -> out.append("\\\\");
            default -> {
              if (c == quote) {
                out.append('\\').append(quote);
              } else if (c < ' ' || c >= 0x7f && c < 0xa1 || c == 0xad) {
                out.append("\\x%02x".formatted(c));
              } else if (unprintable(c)) {
                out.append((c < 0x10000 ? "\\u%04x" : "\\U%08x").formatted(c));
              } else {
                out.appendCodePoint(c);
              }
            }
          }
        });
    out.append(quote);
  }

  private static boolean unprintable(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          c < Guard.FIRST || c > Guard.LAST;
      case Character.PRIVATE_USE -> c < Guard.FIRST || c > Guard.LAST;
      case Character.SPACE_SEPARATOR -> c != ' ';
      default -> false;
    };
  }

  /** The shortest digits that give the number back, laid out as Python does. */
  static String number(double d) {
    if (Double.isNaN(d)) {
      return "nan";
    }
    if (Double.isInfinite(d)) {
      return d > 0 ? "inf" : "-inf";
    }
    if (d == 0) {
      return 1 / d > 0 ? "0.0" : "-0.0";
    }
    BigDecimal exact = new BigDecimal(Double.toString(d)).stripTrailingZeros();
    String digits = exact.unscaledValue().abs().toString();
    int exponent = digits.length() - exact.scale() - 1;
    String sign = d < 0 ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
      String rest = digits.length() > 1 ? "." + digits.substring(1) : "";
      return "%s%s%se%s%02d"
          .formatted(sign, digits.charAt(0), rest, exponent < 0 ? "-" : "+", Math.abs(exponent));
    }
    String plain = exact.abs().toPlainString();
    return sign + plain + (plain.indexOf('.') < 0 ? ".0" : "");
  }
}
