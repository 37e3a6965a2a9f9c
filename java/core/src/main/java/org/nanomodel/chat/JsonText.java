package org.nanomodel.chat;

import java.math.BigInteger;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/** JSON as Python's json.dumps writes it: what the filter {@code tojson} gives. */
final class JsonText {
  private final Budget budget;
  private final boolean ascii;
  private final boolean sorted;
  private final String indent; // null = all in one line
  private final String comma;
  private final String colon;
  private final StringBuilder out = new StringBuilder();
  private int charged;
  private int level;

  /**
   * @param indent text of one level, or null for all in one line
   * @param comma between elements; a line end may follow
   */
  private JsonText(
      Budget budget, boolean ascii, boolean sorted, String indent, String comma, String colon) {
    this.budget = budget;
    this.ascii = ascii;
    this.sorted = sorted;
    this.indent = indent;
    this.comma = comma;
    this.colon = colon;
  }

  /** The filter; its arguments are those that transformers gives it. */
  static String of(Object value, Args args, Budget budget) {
    args.atMost(4);
    Object indent = args.get(1, "indent", null);
    String unit =
        switch (indent) {
          case null -> null;
          case String s -> s;
          default -> " ".repeat(Math.clamp(Values.integer(indent), 0, 100));
        };
    String comma = unit == null ? ", " : ",";
    String colon = ": ";
    if (args.get(2, "separators", null) instanceof List<?> pair && pair.size() == 2) {
      comma = Values.text(pair.get(0));
      colon = Values.text(pair.get(1));
    }
    var json =
        new JsonText(
            budget,
            args.flag(0, "ensure_ascii", false),
            args.flag(3, "sort_keys", false),
            unit,
            comma,
            colon);
    json.write(value);
    budget.text(json.out.length() - json.charged);
    return json.out.toString();
  }

  private void write(Object value) {
    if (out.length() - charged > 4096) {
      budget.text(out.length());
      charged = out.length();
    }
    switch (value) {
      case null -> out.append("null");
      case Boolean b -> out.append(b);
      case Long n -> out.append(n);
      case BigInteger n -> out.append(n);
      case Double d -> out.append(number(d));
      case String s -> quote(s);
      case List<?> list -> list(list);
      case Map<?, ?> map -> map(map);
      case Undefined u -> throw u.fault();
      default -> throw Fault.of("%s cannot be written as JSON", Values.type(value));
    }
  }

  private static String number(double d) {
    return Double.isNaN(d)
        ? "NaN"
        : Double.isInfinite(d) ? d > 0 ? "Infinity" : "-Infinity" : Printer.number(d);
  }

  private void list(List<?> list) {
    open('[');
    for (int i = 0; i < list.size(); i++) {
      between(i == 0);
      write(list.get(i));
    }
    close(list.isEmpty(), ']');
  }

  private void map(Map<?, ?> map) {
    open('{');
    List<? extends Map.Entry<?, ?>> entries = List.copyOf(map.entrySet());
    if (sorted) {
      Comparator<Map.Entry<?, ?>> order = (a, b) -> Values.compare(a.getKey(), b.getKey(), budget);
      entries = entries.stream().sorted(order).toList();
    }
    for (int i = 0; i < entries.size(); i++) {
      between(i == 0);
      key(entries.get(i).getKey());
      out.append(colon);
      write(entries.get(i).getValue());
    }
    close(entries.isEmpty(), '}');
  }

  private void key(Object key) {
    switch (key) {
      case String s -> quote(s);
      case null -> out.append("\"null\"");
      case Boolean _, Long _, BigInteger _ -> out.append('"').append(key).append('"');
      case Double d -> out.append('"').append(number(d)).append('"');
      default -> throw Fault.of("%s cannot be a key of JSON", Values.type(key));
    }
  }

  private void open(char bracket) {
    budget.enter();
    level++;
    out.append(bracket);
  }

  private void between(boolean first) {
    out.append(first ? "" : comma);
    newLine();
  }

  private void close(boolean empty, char bracket) {
    level--;
    budget.leave();
    if (!empty) {
      newLine();
    }
    out.append(bracket);
  }

  private void newLine() {
    if (indent != null) {
      out.append('\n').append(indent.repeat(level));
    }
  }

  private void quote(String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\b' -> out.append("\\b");
        case '\f' -> out.append("\\f");
        default -> {
          if (c < ' ' || ascii && c > '~' && (c < Guard.FIRST || c > Guard.LAST)) {
            out.append("\\u%04x".formatted((int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append('"');
  }
}
