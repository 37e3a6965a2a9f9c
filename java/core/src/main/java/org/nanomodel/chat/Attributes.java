package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What stands behind the dot: keys of maps, fields of loop and namespace, methods of texts, lists
 * and maps. Values of Java have no others here.
 */
final class Attributes {
  private static final Set<String> CHANGING_LISTS =
      Set.of("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort");
  private static final Set<String> OF_MAPS = Set.of("copy", "get", "items", "keys", "values");
  private static final Set<String> OF_LISTS = Set.of("copy", "count", "index");
  private static final Set<String> CHANGING_MAPS =
      Set.of("clear", "pop", "popitem", "setdefault", "update");

  private final Budget budget;
  private final Operators operators;

  Attributes(Budget budget, Operators operators) {
    this.budget = budget;
    this.operators = operators;
  }

  /** {@code on.name}: methods come before keys. */
  Object get(Object on, String name) {
    Object method = method(on, name);
    if (method != null) {
      return method;
    }
    return switch (on) {
      case Loop loop -> loop.attribute(name);
      case Namespace space ->
          space.values().containsKey(name)
              ? space.values().get(name)
              : new Undefined("'" + name + "' of the namespace");
      case null, default -> operators.item(on, name);
    };
  }

  /** {@code on[key]}: keys come before methods. */
  Object item(Object on, Object key) {
    if (on instanceof Loop || on instanceof Namespace) {
      return get(on, Values.text(key));
    }
    Object value = operators.item(on, key);
    if (value instanceof Undefined && key instanceof String name) {
      Object method = method(on, name);
      return method == null ? value : method;
    }
    return value;
  }

  private Callable method(Object on, String name) {
    return switch (on) {
      case String s when TextMethods.known(name) -> args -> TextMethods.call(name, s, args, budget);
      case Map<?, ?> map when OF_MAPS.contains(name) -> args -> ofMap(name, map, args);
      case Map<?, ?> _ when CHANGING_MAPS.contains(name) -> refusal(name);
      case List<?> list when OF_LISTS.contains(name) -> args -> ofList(name, list, args);
      case List<?> list when !(list instanceof Tuple) && CHANGING_LISTS.contains(name) ->
          refusal(name);
      case null, default -> null;
    };
  }

  /** As jinja2's immutable sandbox does, in which transformers renders. */
  private static Callable refusal(String name) {
    return args -> {
      throw new Fault(name + "() changes a value, which templates may not; use + or a namespace");
    };
  }

  private Object ofMap(String name, Map<?, ?> map, Args args) {
    budget.work(8L * map.size());
    return switch (name) {
      case "get" -> {
        Object key = Operators.key(args.require(0, "key"));
        yield map.containsKey(key) ? map.get(key) : args.get(1, "default", null);
      }
      case "items" -> pairs(map);
      case "keys" -> new ArrayList<Object>(map.keySet());
      case "values" -> new ArrayList<Object>(map.values());
      default -> new LinkedHashMap<>(map);
    };
  }

  static List<Object> pairs(Map<?, ?> map) {
    List<Object> pairs = new ArrayList<>();
    map.forEach((key, value) -> pairs.add(Tuple.of(key, value)));
    return pairs;
  }

  private Object ofList(String name, List<?> list, Args args) {
    if (name.equals("copy")) {
      budget.work(8L * list.size());
      return new ArrayList<>(list);
    }
    Object wanted = args.require(0, "value");
    long count = 0;
    for (int i = 0; i < list.size(); i++) {
      budget.work(1);
      if (Values.equal(list.get(i), wanted, budget)) {
        if (name.equals("index")) {
          return (long) i;
        }
        count++;
      }
    }
    if (name.equals("index")) {
      throw new Fault("index: the value is not in the list");
    }
    return count;
  }
}
