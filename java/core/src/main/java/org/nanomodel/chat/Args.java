package org.nanomodel.chat;

import java.util.List;
import java.util.Map;

/** The values of a call's arguments. */
record Args(List<Object> positional, Map<String, Object> named) {
  static final Args NONE = new Args(List.of(), Map.of());

  /** The argument at this place or of this name, or the default. */
  Object get(int place, String name, Object otherwise) {
    if (place < positional.size()) {
      return positional.get(place);
    }
    return named.getOrDefault(name, otherwise);
  }

  boolean has(int place, String name) {
    return place < positional.size() || named.containsKey(name);
  }

  Object require(int place, String name) {
    if (!has(place, name)) {
      throw Fault.of("the argument '%s' is missing", name);
    }
    return get(place, name, null);
  }

  String text(int place, String name) {
    return Values.text(require(place, name));
  }

  String text(int place, String name, String otherwise) {
    Object value = get(place, name, otherwise);
    return value == null ? null : Values.text(value);
  }

  boolean flag(int place, String name, boolean otherwise) {
    return Values.truth(get(place, name, otherwise));
  }

  int integer(int place, String name, int otherwise) {
    return Values.integer(get(place, name, (long) otherwise));
  }

  /** Refuses more arguments than there are. */
  Args atMost(int count) {
    if (positional.size() + named.size() > count) {
      throw Fault.of(
          "expected at most %d arguments, got %d", count, positional.size() + named.size());
    }
    return this;
  }
}
