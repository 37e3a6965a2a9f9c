package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;

/** Arithmetic, comparisons, places and slices, as Python does them. */
final class Operators {
  private final Budget budget;

  Operators(Budget budget) {
    this.budget = budget;
  }

  /** As it is printed. */
  String str(Object value) {
    return Printer.str(value, budget);
  }

  Object unary(String operator, Object value) {
    return switch (operator) {
      case "not" -> !Values.truth(value);
      case "-" ->
          switch (value) {
            case Long n -> exact(() -> Math.negateExact(n));
            case Boolean b -> b ? -1L : 0L;
            default -> -Values.number(value);
          };
      default -> value instanceof Boolean b ? (b ? 1L : 0L) : number(value);
    };
  }

  private static Object number(Object value) {
    Values.number(value);
    return value;
  }

  Object binary(String operator, Object left, Object right) {
    if (operator.equals("~")) {
      return join(Printer.str(left, budget), Printer.str(right, budget));
    }
    if (left instanceof Undefined u) {
      throw u.fault();
    }
    if (right instanceof Undefined u) {
      throw u.fault();
    }
    return switch (operator) {
      case "+" -> plus(left, right);
      case "*" -> times(left, right);
      case "%" ->
          left instanceof String format
              ? Formats.percent(format, right, budget)
              : arithmetic(operator, left, right);
      default -> arithmetic(operator, left, right);
    };
  }

  private Object plus(Object left, Object right) {
    if (left instanceof String a && right instanceof String b) {
      return join(a, b);
    }
    if (left instanceof List<?> a
        && right instanceof List<?> b
        && a instanceof Tuple == b instanceof Tuple) {
      budget.work(8L * (a.size() + b.size()));
      List<Object> all = new ArrayList<>(a);
      all.addAll(b);
      return a instanceof Tuple ? new Tuple(all) : all;
    }
    if (!Values.isNumber(left) || !Values.isNumber(right)) {
      throw Fault.of("cannot add %s and %s", Values.type(left), Values.type(right));
    }
    return arithmetic("+", left, right);
  }

  private String join(String a, String b) {
    budget.text((long) a.length() + b.length());
    return a.concat(b);
  }

  private Object times(Object left, Object right) {
    if (isWhole(right) && (left instanceof String || left instanceof List<?>)) {
      return repeat(left, Values.integer(right));
    }
    if (isWhole(left) && (right instanceof String || right instanceof List<?>)) {
      return repeat(right, Values.integer(left));
    }
    return arithmetic("*", left, right);
  }

  private static boolean isWhole(Object value) {
    return value instanceof Long || value instanceof Boolean;
  }

  private Object repeat(Object value, int times) {
    int count = Math.max(0, times);
    if (value instanceof String s) {
      budget.text((long) s.length() * count);
      return s.repeat(count);
    }
    List<?> list = (List<?>) value;
    budget.work(8L * list.size() * count);
    List<Object> all = new ArrayList<>();
    for (int i = 0; i < count && !list.isEmpty(); i++) {
      all.addAll(list);
    }
    return list instanceof Tuple ? new Tuple(all) : all;
  }

  private Object arithmetic(String operator, Object left, Object right) {
    if (!Values.isNumber(left) || !Values.isNumber(right)) {
      throw Fault.of("cannot compute %s %s %s", Values.type(left), operator, Values.type(right));
    }
    if (isWhole(left) && isWhole(right)) {
      return whole(operator, asLong(left), asLong(right));
    }
    double a = Values.number(left);
    double b = Values.number(right);
    if (b == 0 && !"+-**".contains(operator)) {
      throw new Fault("division by zero");
    }
    return switch (operator) {
      case "+" -> a + b;
      case "-" -> a - b;
      case "*" -> a * b;
      case "/" -> a / b;
      case "//" -> Math.floor((a - floorMod(a, b)) / b + 0.25);
      case "%" -> floorMod(a, b);
      default -> finite(Math.pow(a, b));
    };
  }

  private static long asLong(Object value) {
    return value instanceof Boolean b ? (b ? 1 : 0) : (Long) value;
  }

  private static Object finite(double value) {
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      throw new Fault("the power is no number");
    }
    return value;
  }

  private static double floorMod(double a, double b) {
    double rest = a % b;
    if (rest == 0) {
      return Math.copySign(0.0, b);
    }
    return rest < 0 == b < 0 ? rest : rest + b;
  }

  private Object whole(String operator, long a, long b) {
    if (b == 0 && !"+-**".contains(operator)) {
      throw new Fault("division by zero");
    }
    return switch (operator) {
      case "+" -> exact(() -> Math.addExact(a, b));
      case "-" -> exact(() -> Math.subtractExact(a, b));
      case "*" -> exact(() -> Math.multiplyExact(a, b));
      case "/" -> (double) a / b;
      case "//" -> exact(() -> Math.floorDivExact(a, b));
      case "%" -> Math.floorMod(a, b);
      default -> power(a, b);
    };
  }

  private Object power(long a, long b) {
    if (b < 0) {
      return finite(Math.pow(a, b));
    }
    if (Math.abs(a) <= 1) {
      return b == 0 ? 1L : a == 0 ? 0L : a == 1 || b % 2 == 0 ? 1L : -1L;
    }
    return exact(() -> {
      long result = 1;
      for (long i = 0; i < b; i++) { // at most 63 rounds, then it does not fit
        result = Math.multiplyExact(result, a);
      }
      return result;
    });
  }

  private static Object exact(LongSupplier computation) {
    try {
      return computation.getAsLong();
    } catch (ArithmeticException e) {
      throw new Fault("the number is too large");
    }
  }

  boolean compare(String operator, Object left, Object right) {
    return switch (operator) {
      case "==" -> Values.equal(left, right, budget);
      case "!=" -> !Values.equal(left, right, budget);
      case "in" -> contains(right, left);
      case "not in" -> !contains(right, left);
      default -> ordered(operator, left, right);
    };
  }

  private boolean ordered(String operator, Object left, Object right) {
    if (left instanceof Double a && a.isNaN() || right instanceof Double b && b.isNaN()) {
      return false;
    }
    int order = Values.compare(left, right, budget);
    return switch (operator) {
      case "<" -> order < 0;
      case "<=" -> order <= 0;
      case ">" -> order > 0;
      default -> order >= 0;
    };
  }

  boolean contains(Object container, Object value) {
    switch (container) {
      case String s -> {
        String wanted = Values.text(value);
        budget.search(s.length(), wanted.length());
        return s.contains(wanted);
      }
      case Map<?, ?> map -> {
        return map.containsKey(key(value));
      }
      case null, default -> {
        for (Object item : Values.elements(container, budget)) {
          if (Values.equal(item, value, budget)) {
            return true;
          }
        }
        return false;
      }
    }
  }

  /** What can be a key of a map: texts, numbers, booleans, none. */
  static Object key(Object value) {
    if (value instanceof List<?> && !(value instanceof Tuple) || value instanceof Map<?, ?>) {
      throw Fault.of("%s cannot be a key of a map", Values.type(value));
    }
    return value;
  }

  /** {@code on[key]}; an {@link Undefined} where there is none. */
  Object item(Object on, Object key) {
    switch (on) {
      case Undefined u -> throw u.fault();
      case Map<?, ?> map -> {
        if (!(key instanceof List<?> || key instanceof Map<?, ?>) && map.containsKey(key)) {
          return map.get(key);
        }
      }
      case List<?> list when isWhole(key) -> {
        long index = asLong(key);
        index += index < 0 ? list.size() : 0;
        if (index >= 0 && index < list.size()) {
          return list.get((int) index);
        }
      }
      case String s when isWhole(key) -> {
        budget.work(s.length());
        int length = Chars.length(s);
        long index = asLong(key);
        index += index < 0 ? length : 0;
        if (index >= 0 && index < length) {
          return Chars.of(s.codePointAt(Chars.unit(s, (int) index)));
        }
      }
      case null, default -> {}
    }
    String what =
        key instanceof String name ? "'" + name + "'" : "[" + Printer.repr(key, budget) + "]";
    return new Undefined(what + " of " + Values.type(on));
  }

  /** {@code on[from:to:step]}; null = left out. */
  Object slice(Object on, Object from, Object to, Object step) {
    if (on instanceof Undefined u) {
      throw u.fault();
    }
    if (!(on instanceof String || on instanceof List<?>)) {
      throw Fault.of("%s has no slices", Values.type(on));
    }
    budget.work(on instanceof String s ? s.length() : ((List<?>) on).size());
    int[] points = on instanceof String s ? s.codePoints().toArray() : null;
    int length = points == null ? ((List<?>) on).size() : points.length;
    int by = step == null ? 1 : Values.integer(step);
    if (by == 0) {
      throw new Fault("the step of a slice is 0");
    }
    int start = from == null ? (by > 0 ? 0 : length - 1) : bound(from, length, by);
    int end = to == null ? (by > 0 ? length : -1) : bound(to, length, by);
    StringBuilder text = new StringBuilder();
    List<Object> items = new ArrayList<>();
    for (long i = start; by > 0 ? i < end : i > end; i += by) {
      if (points == null) {
        items.add(((List<?>) on).get((int) i));
      } else {
        text.appendCodePoint(points[(int) i]);
      }
    }
    return points != null ? text.toString() : on instanceof Tuple ? new Tuple(items) : items;
  }

  private static int bound(Object value, int length, int by) {
    long bound = Values.integer(value);
    bound += bound < 0 ? length : 0;
    return by > 0 ? Math.clamp(bound, 0, length) : Math.clamp(bound, -1, length - 1);
  }
}
