package org.nanomodel.chat;

import java.util.List;

/**
 * What Python's generators are to a template: always true, without length or places, and gone once
 * looped over. {@code map}, {@code selectattr} and some other filters give one.
 */
final class Lazy {
  private List<Object> items;

  Lazy(List<Object> items) {
    this.items = items;
  }

  List<Object> drain() {
    List<Object> all = items;
    items = List.of();
    return all;
  }

  /** The first one, which is taken out; null if there is none. */
  Object first() {
    if (items.isEmpty()) {
      return null;
    }
    Object first = items.getFirst();
    items = items.subList(1, items.size());
    return first;
  }

  boolean isEmpty() {
    return items.isEmpty();
  }
}
