package org.nanomodel.chat;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The values that templates see: null, Boolean, Long (or BigInteger where it came from outside),
 * Double, String, List, Map. Nothing else gets in, and nothing is looked up by reflection.
 */
final class Values {
  private static final int MAX_NESTING = 100;

  private Values() {}

  /** A value from outside, copied. */
  static Object of(Object value) {
    return of(value, 0);
  }

  private static Object of(Object value, int depth) {
    if (depth > MAX_NESTING) {
      throw new IllegalArgumentException("a value is nested more than " + MAX_NESTING + " deep");
    }
    return switch (value) {
      case null -> null;
      case Boolean b -> b;
      case CharSequence s -> s.toString();
      case Double d -> d;
      case Float f -> (double) f;
      case BigDecimal d -> d.doubleValue();
      case BigInteger i -> i.bitLength() < 64 ? (Object) i.longValue() : i;
      case Number n -> n.longValue();
      case Map<?, ?> map -> {
        Map<Object, Object> copy = new LinkedHashMap<>();
        map.forEach((k, v) -> copy.put(of(k, depth + 1), of(v, depth + 1)));
        yield copy;
      }
      case Iterable<?> items -> {
        List<Object> copy = new ArrayList<>();
        items.forEach(item -> copy.add(of(item, depth + 1)));
        yield copy;
      }
      default ->
          throw new IllegalArgumentException(
              "a template takes maps, lists, texts, numbers, booleans and null; got a "
                  + value.getClass().getSimpleName());
    };
  }

  static boolean truth(Object value) {
    return switch (value) {
      case null -> false;
      case Boolean b -> b;
      case Long n -> n != 0;
      case Double d -> d != 0;
      case String s -> !s.isEmpty();
      case List<?> list -> !list.isEmpty();
      case Map<?, ?> map -> !map.isEmpty();
      case Undefined _ -> false;
      default -> true;
    };
  }

  /** What Python would call the type. */
  static String type(Object value) {
    return switch (value) {
      case null -> "none";
      case Boolean _ -> "a boolean";
      case Long _ -> "a number";
      case BigInteger _ -> "a number of more than 64 bits";
      case Double _ -> "a number";
      case String _ -> "a text";
      case List<?> _ -> "a list";
      case Map<?, ?> _ -> "a map";
      case Lazy _ -> "a sequence without length";
      case Namespace _ -> "a namespace";
      case Loop _ -> "the loop";
      default -> "a function";
    };
  }

  /** The text itself; other values are refused. */
  static String text(Object value) {
    return switch (value) {
      case String s -> s;
      case Undefined u -> throw u.fault();
      case null, default -> throw Fault.of("expected a text, got %s", type(value));
    };
  }

  static int integer(Object value) {
    return switch (value) {
      case Long n -> Math.clamp(n, Integer.MIN_VALUE, Integer.MAX_VALUE);
      case Boolean b -> b ? 1 : 0;
      case Undefined u -> throw u.fault();
      case null, default -> throw Fault.of("expected a whole number, got %s", type(value));
    };
  }

  static boolean isNumber(Object value) {
    return value instanceof Long || value instanceof Double || value instanceof Boolean;
  }

  static double number(Object value) {
    return switch (value) {
      case Long n -> n;
      case Double d -> d;
      case Boolean b -> b ? 1 : 0;
      case Undefined u -> throw u.fault();
      case null, default -> throw Fault.of("expected a number, got %s", type(value));
    };
  }

  /** The elements that a loop sees; of a map, its keys; of a text, its characters. */
  static List<Object> elements(Object value, Budget budget) {
    switch (value) {
      case List<?> list -> {
        budget.work(list.size());
        return new ArrayList<>(list);
      }
      case Map<?, ?> map -> {
        budget.work(map.size());
        return new ArrayList<>(map.keySet());
      }
      case Lazy lazy -> {
        return lazy.drain();
      }
      case String s -> {
        budget.work(64L * s.length());
        List<Object> out = new ArrayList<>();
        s.codePoints().forEach(c -> out.add(Chars.of(c)));
        return out;
      }
      case Undefined _ -> {
        return new ArrayList<>();
      }
      case null, default -> throw Fault.of("cannot loop over %s", type(value));
    }
  }

  static long length(Object value) {
    return switch (value) {
      case String s -> Chars.length(s);
      case List<?> list -> list.size();
      case Map<?, ?> map -> map.size();
      case Undefined _ -> 0;
      case Loop loop -> loop.length();
      case null, default -> throw Fault.of("%s has no length", type(value));
    };
  }

  static boolean equal(Object a, Object b, Budget budget) {
    if (a == b) {
      return true;
    }
    if (isNumber(a) && isNumber(b)) {
      return a instanceof Long x && b instanceof Long y ? x.equals(y) : number(a) == number(b);
    }
    budget.enter();
    try {
      return switch (a) {
        case String s -> b instanceof String t && sameText(s, t, budget);
        case List<?> s ->
            b instanceof List<?> t
                && a instanceof Tuple == b instanceof Tuple
                && same(s, t, budget);
        case Map<?, ?> s -> b instanceof Map<?, ?> t && same(s, t, budget);
        case Undefined _ -> b instanceof Undefined;
        case BigInteger i -> i.equals(b);
        case null, default -> false;
      };
    } finally {
      budget.leave();
    }
  }

  private static boolean sameText(String a, String b, Budget budget) {
    if (a.length() != b.length()) {
      return false;
    }
    budget.work(a.length());
    return a.equals(b);
  }

  private static boolean same(List<?> a, List<?> b, Budget budget) {
    if (a.size() != b.size()) {
      return false;
    }
    budget.work(a.size());
    for (int i = 0; i < a.size(); i++) {
      if (!equal(a.get(i), b.get(i), budget)) {
        return false;
      }
    }
    return true;
  }

  private static boolean same(Map<?, ?> a, Map<?, ?> b, Budget budget) {
    if (a.size() != b.size()) {
      return false;
    }
    budget.work(a.size());
    for (Map.Entry<?, ?> entry : a.entrySet()) {
      if (!b.containsKey(entry.getKey())
          || !equal(entry.getValue(), b.get(entry.getKey()), budget)) {
        return false;
      }
    }
    return true;
  }

  /** Negative, zero or positive; texts by code points, lists by elements. */
  static int compare(Object a, Object b, Budget budget) {
    if (isNumber(a) && isNumber(b)) {
      return a instanceof Long x && b instanceof Long y
          ? Long.compare(x, y)
          : Double.compare(number(a) + 0.0, number(b) + 0.0);
    }
    if (a instanceof String s && b instanceof String t) {
      budget.work(Math.min(s.length(), t.length()));
      return compareText(s, t);
    }
    if (a instanceof List<?> s
        && b instanceof List<?> t
        && a instanceof Tuple == b instanceof Tuple) {
      budget.enter();
      budget.work(Math.min(s.size(), t.size()));
      for (int i = 0; i < Math.min(s.size(), t.size()); i++) {
        if (!equal(s.get(i), t.get(i), budget)) {
          int order = compare(s.get(i), t.get(i), budget);
          budget.leave();
          return order;
        }
      }
      budget.leave();
      return Integer.compare(s.size(), t.size());
    }
    if (a instanceof Undefined u) {
      throw u.fault();
    }
    if (b instanceof Undefined u) {
      throw u.fault();
    }
    throw Fault.of("cannot order %s and %s", type(a), type(b));
  }

  private static int compareText(String a, String b) {
    int n = Math.min(a.length(), b.length());
    for (int i = 0; i < n; i++) {
      char x = a.charAt(i);
      char y = b.charAt(i);
      if (x != y) {
        boolean units = Character.isSurrogate(x) == Character.isSurrogate(y);
        return units ? Character.compare(x, y) : Character.isSurrogate(x) ? 1 : -1;
      }
    }
    return Integer.compare(a.length(), b.length());
  }
}
