package org.nanomodel.chat;

import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** What stands behind {@code is}. */
final class Tests {
  private static final Map<String, String> COMPARISONS =
      Map.ofEntries(
          Map.entry("==", "=="),
          Map.entry("eq", "=="),
          Map.entry("equalto", "=="),
          Map.entry("!=", "!="),
          Map.entry("ne", "!="),
          Map.entry("<", "<"),
          Map.entry("lt", "<"),
          Map.entry("lessthan", "<"),
          Map.entry("<=", "<="),
          Map.entry("le", "<="),
          Map.entry(">", ">"),
          Map.entry("gt", ">"),
          Map.entry("greaterthan", ">"),
          Map.entry(">=", ">="),
          Map.entry("ge", ">="),
          Map.entry("in", "in"));
  private static final Set<String> OTHERS =
      Set.of(
          "boolean",
          "callable",
          "defined",
          "divisibleby",
          "even",
          "false",
          "filter",
          "float",
          "integer",
          "iterable",
          "lower",
          "mapping",
          "none",
          "number",
          "odd",
          "sameas",
          "sequence",
          "string",
          "test",
          "true",
          "undefined",
          "upper");

  private Tests() {}

  static boolean known(String name) {
    return COMPARISONS.containsKey(name) || OTHERS.contains(name);
  }

  static boolean test(String name, Object value, Args args, Operators operators) {
    String comparison = COMPARISONS.get(name);
    if (comparison != null) {
      return operators.compare(comparison, value, args.atMost(1).require(0, "other"));
    }
    return switch (name) {
      case "defined" -> !(value instanceof Undefined);
      case "undefined" -> value instanceof Undefined;
      case "none" -> value == null;
      case "true" -> Boolean.TRUE.equals(value);
      case "false" -> Boolean.FALSE.equals(value);
      case "boolean" -> value instanceof Boolean;
      case "string" -> value instanceof String;
      case "mapping" -> value instanceof Map<?, ?>;
      case "sequence" ->
          value instanceof String
              || value instanceof List<?>
              || value instanceof Map<?, ?>
              || value instanceof Undefined;
      case "iterable" ->
          value instanceof String
              || value instanceof List<?>
              || value instanceof Map<?, ?>
              || value instanceof Lazy
              || value instanceof Undefined;
      case "number" -> Values.isNumber(value) || value instanceof BigInteger;
      case "integer" -> value instanceof Long || value instanceof BigInteger;
      case "float" -> value instanceof Double;
      case "callable" -> value instanceof Callable;
      case "odd", "even", "divisibleby" -> divides(name, value, args, operators);
      case "sameas" -> same(value, args.require(0, "other"));
      case "lower" -> cased(operators.str(value), false);
      case "upper" -> cased(operators.str(value), true);
      case "filter" -> Filters.known(Values.text(value));
      default -> known(Values.text(value));
    };
  }

  private static boolean divides(String name, Object value, Args args, Operators operators) {
    Object by = name.equals("divisibleby") ? args.require(0, "num") : (Object) 2L;
    double rest = Values.number(operators.binary("%", value, by));
    return name.equals("odd") ? rest == 1 : rest == 0;
  }

  private static boolean same(Object a, Object b) {
    return a == b || a != null && !(a instanceof List<?> || a instanceof Map<?, ?>) && a.equals(b);
  }

  private static boolean cased(String s, boolean upper) {
    String up = s.toUpperCase(Locale.ROOT);
    String low = s.toLowerCase(Locale.ROOT);
    return !up.equals(low) && s.equals(upper ? up : low);
  }
}
