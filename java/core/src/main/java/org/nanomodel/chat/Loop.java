package org.nanomodel.chat;

import java.util.List;

/** The variable {@code loop} of a for. */
final class Loop implements Callable {
  private final List<Object> items;
  private final int depth;
  private final Callable recursion;
  private final Budget budget;
  private int index = -1;
  private Object lastChecked;
  private boolean checked;

  /**
   * @param depth of recursive loops, from 0
   * @param recursion what a call of it does, or null
   */
  Loop(List<Object> items, int depth, Callable recursion, Budget budget) {
    this.items = items;
    this.depth = depth;
    this.recursion = recursion;
    this.budget = budget;
  }

  void advance() {
    index++;
  }

  int length() {
    return items.size();
  }

  @Override
  public Object call(Args args) {
    if (recursion == null) {
      throw new Fault("this loop is not recursive, so it cannot be called");
    }
    return recursion.call(args);
  }

  Object attribute(String name) {
    return switch (name) {
      case "index" -> index + 1L;
      case "index0" -> (long) index;
      case "revindex" -> (long) items.size() - index;
      case "revindex0" -> items.size() - index - 1L;
      case "first" -> index == 0;
      case "last" -> index == items.size() - 1;
      case "length" -> (long) items.size();
      case "depth" -> depth + 1L;
      case "depth0" -> (long) depth;
      case "previtem" ->
          index > 0
              ? items.get(index - 1)
              : new Undefined("there is no previous item, so loop.previtem");
      case "nextitem" ->
          index + 1 < items.size()
              ? items.get(index + 1)
              : new Undefined("there is no next item, so loop.nextitem");
      case "cycle" ->
          (Callable)
              args -> {
                if (args.positional().isEmpty()) {
                  throw new Fault("loop.cycle needs something to cycle through");
                }
                return args.positional().get(index % args.positional().size());
              };
      case "changed" -> (Callable) this::changed;
      default -> new Undefined("loop." + name);
    };
  }

  private Object changed(Args args) {
    Object now = new Tuple(args.positional());
    if (checked && Values.equal(now, lastChecked, budget)) {
      return false;
    }
    checked = true;
    lastChecked = now;
    return true;
  }
}
