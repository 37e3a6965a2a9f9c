package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/** Filters of sequences and maps. */
final class ListFilters {
  private static final Set<String> NAMES =
      Set.of(
          "batch",
          "dictsort",
          "first",
          "groupby",
          "items",
          "join",
          "last",
          "list",
          "map",
          "max",
          "min",
          "reject",
          "rejectattr",
          "reverse",
          "select",
          "selectattr",
          "sort",
          "sum",
          "unique");

  private final Budget budget;
  private final Operators operators;
  private final Attributes attributes;
  private final Filters filters;

  ListFilters(Budget budget, Operators operators, Attributes attributes, Filters filters) {
    this.budget = budget;
    this.operators = operators;
    this.attributes = attributes;
    this.filters = filters;
  }

  static boolean known(String name) {
    return NAMES.contains(name);
  }

  Object apply(String name, Object value, Args args) {
    return switch (name) {
      case "list" -> elements(value);
      case "first" -> first(value);
      case "last" -> last(value);
      case "join" -> join(value, args);
      case "items" -> items(value);
      case "reverse" -> reverse(value);
      case "map" -> map(value, args);
      case "select", "reject" -> select(value, args, name.equals("select"), false);
      case "selectattr", "rejectattr" -> select(value, args, name.equals("selectattr"), true);
      case "sort" -> sort(value, args);
      case "dictsort" -> dictSort(value, args);
      case "groupby" -> groupBy(value, args);
      case "unique" -> unique(value, args);
      case "batch" -> batch(value, args);
      case "sum" -> sum(value, args);
      default -> extreme(name, value, args);
    };
  }

  private List<Object> elements(Object value) {
    return Values.elements(value, budget);
  }

  /** As map and select see it: what is false has no elements, whatever it is. */
  private List<Object> elementsOrNone(Object value) {
    return Values.truth(value) ? elements(value) : List.of();
  }

  private Object first(Object value) {
    if (value instanceof Lazy lazy) {
      return lazy.isEmpty() ? noItem("first") : lazy.first();
    }
    List<Object> all = elements(value);
    return all.isEmpty() ? noItem("first") : all.getFirst();
  }

  private Object last(Object value) {
    if (value instanceof Lazy) {
      throw new Fault("a sequence without length has no last item; use |list first");
    }
    List<Object> all = elements(value);
    return all.isEmpty() ? noItem("last") : all.getLast();
  }

  private static Undefined noItem(String which) {
    return new Undefined("there is no item, so the " + which + " one");
  }

  private String join(Object value, Args args) {
    String separator = Printer.str(args.atMost(2).get(0, "d", ""), budget);
    UnaryOperator<Object> key = attribute(args.get(1, "attribute", null));
    List<Object> parts = new ArrayList<>();
    for (Object item : elements(value)) {
      parts.add(Printer.str(key.apply(item), budget));
    }
    return TextMethods.join(separator, parts, budget);
  }

  private Object items(Object value) {
    return switch (value) {
      case Undefined _ -> new Lazy(List.of());
      case Map<?, ?> map -> {
        budget.work(8L * map.size());
        yield new Lazy(Attributes.pairs(map));
      }
      case null, default -> throw Fault.of("items needs a map, got %s", Values.type(value));
    };
  }

  private Object reverse(Object value) {
    if (value instanceof String s) {
      budget.text(s.length());
      return new StringBuilder(s).reverse().toString();
    }
    List<Object> all = elements(value);
    Collections.reverse(all);
    return new Lazy(all);
  }

  private Object map(Object value, Args args) {
    List<Object> out = new ArrayList<>();
    List<Object> all = elementsOrNone(value);
    if (args.positional().isEmpty()) {
      UnaryOperator<Object> key = attribute(args.require(0, "attribute"));
      Object otherwise = args.named().get("default");
      for (Object item : all) {
        Object got = key.apply(item);
        out.add(got instanceof Undefined && args.named().containsKey("default") ? otherwise : got);
      }
      return new Lazy(out);
    }
    String filter = args.text(0, "filter");
    if (!Filters.known(filter)) {
      throw Fault.of("there is no filter '%s'", filter);
    }
    Args rest = new Args(args.positional().subList(1, args.positional().size()), args.named());
    for (Object item : all) {
      budget.step();
      out.add(filters.apply(filter, item, rest));
    }
    return new Lazy(out);
  }

  /** select(test, ...) or selectattr(attribute, test, ...). */
  private Object select(Object value, Args args, boolean keep, boolean byAttribute) {
    int skip = byAttribute ? 1 : 0;
    UnaryOperator<Object> key =
        byAttribute ? attribute(args.require(0, "attribute")) : UnaryOperator.identity();
    List<Object> positional = args.positional();
    String test = positional.size() > skip ? Values.text(positional.get(skip)) : null;
    if (test != null && !Tests.known(test)) {
      throw Fault.of("there is no test '%s'", test);
    }
    Args rest =
        new Args(
            positional.subList(Math.min(positional.size(), skip + 1), positional.size()),
            args.named());
    List<Object> out = new ArrayList<>();
    for (Object item : elementsOrNone(value)) {
      budget.step();
      Object tested = key.apply(item);
      if ((test == null ? Values.truth(tested) : Tests.test(test, tested, rest, operators))
          == keep) {
        out.add(item);
      }
    }
    return new Lazy(out);
  }

  /** By a path such as {@code function.name}, where numbers are places; null = the item itself. */
  private UnaryOperator<Object> attribute(Object path) {
    if (path == null) {
      return UnaryOperator.identity();
    }
    if (path instanceof Long place) {
      return item -> attributes.item(item, place);
    }
    String[] names = Values.text(path).split("\\.", -1);
    return item -> {
      Object value = item;
      for (String name : names) {
        boolean place =
            !name.isEmpty()
                && name.length() < 10
                && name.chars().allMatch(c -> c >= '0' && c <= '9');
        value = attributes.item(value, place ? (Object) Long.parseLong(name) : name);
      }
      return value;
    };
  }

  private UnaryOperator<Object> sortKey(Object path, boolean caseSensitive) {
    UnaryOperator<Object> key = attribute(path);
    return caseSensitive ? key : item -> fold(key.apply(item));
  }

  private static Object fold(Object value) {
    return value instanceof String s ? s.toLowerCase(Locale.ROOT) : value;
  }

  private Comparator<Object> order(UnaryOperator<Object> key) {
    return (a, b) -> {
      budget.step();
      return Values.compare(key.apply(a), key.apply(b), budget);
    };
  }

  private Object sort(Object value, Args args) {
    List<Object> all = elements(value);
    Comparator<Object> order =
        order(sortKey(args.get(2, "attribute", null), args.flag(1, "case_sensitive", false)));
    all.sort(args.atMost(3).flag(0, "reverse", false) ? order.reversed() : order);
    return all;
  }

  private Object dictSort(Object value, Args args) {
    if (!(value instanceof Map<?, ?> map)) {
      throw Fault.of("dictsort needs a map, got %s", Values.type(value));
    }
    List<Object> pairs = Attributes.pairs(map);
    long place = args.text(1, "by", "key").equals("key") ? 0 : 1;
    Comparator<Object> order = order(sortKey(place, args.flag(0, "case_sensitive", false)));
    pairs.sort(args.flag(2, "reverse", false) ? order.reversed() : order);
    return pairs;
  }

  private Object groupBy(Object value, Args args) {
    UnaryOperator<Object> key = attribute(args.require(0, "attribute"));
    List<Object> all = elements(value);
    all.sort(order(item -> fold(key.apply(item))));
    List<Object> groups = new ArrayList<>();
    List<Object> group = new ArrayList<>();
    Object current = null;
    for (Object item : all) {
      Object now = key.apply(item);
      if (group.isEmpty() || !Values.equal(fold(now), fold(current), budget)) {
        group = new ArrayList<>();
        current = now;
        groups.add(Tuple.of(now, group));
      }
      group.add(item);
    }
    return groups;
  }

  private Object unique(Object value, Args args) {
    UnaryOperator<Object> key =
        sortKey(args.get(1, "attribute", null), args.flag(0, "case_sensitive", false));
    Map<Object, Object> seen = new LinkedHashMap<>();
    for (Object item : elements(value)) {
      seen.putIfAbsent(Operators.key(key.apply(item)), item);
    }
    return new Lazy(new ArrayList<>(seen.values()));
  }

  private Object batch(Object value, Args args) {
    int size = Math.max(1, args.integer(0, "linecount", 1));
    List<Object> all = elements(value);
    List<Object> out = new ArrayList<>();
    for (int i = 0; i < all.size(); i += size) {
      List<Object> part =
          new ArrayList<>(all.subList(i, (int) Math.min(all.size(), (long) i + size)));
      Object fill = args.get(1, "fill_with", null);
      if (fill != null) {
        budget.work(8L * size);
        while (part.size() < size) {
          part.add(fill);
        }
      }
      out.add(part);
    }
    return new Lazy(out);
  }

  private Object sum(Object value, Args args) {
    UnaryOperator<Object> key = attribute(args.get(0, "attribute", null));
    Object total = args.get(1, "start", 0L);
    for (Object item : elements(value)) {
      total = operators.binary("+", total, key.apply(item));
    }
    return total;
  }

  private Object extreme(String name, Object value, Args args) {
    List<Object> all = elements(value);
    if (all.isEmpty()) {
      return noItem(name);
    }
    Comparator<Object> order =
        order(sortKey(args.get(1, "attribute", null), args.flag(0, "case_sensitive", false)));
    Object best = all.getFirst();
    for (Object item : all) {
      int sign = order.compare(item, best);
      best = (name.equals("max") ? sign > 0 : sign < 0) ? item : best;
    }
    return best;
  }
}
