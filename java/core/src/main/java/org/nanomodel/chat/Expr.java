package org.nanomodel.chat;

import java.util.List;

/** An expression of a template; {@code line} is where it stands. */
sealed interface Expr {
  int line();

  record Const(Object value, int line) implements Expr {}

  record Name(String name, int line) implements Expr {}

  record ListOf(List<Expr> items, boolean tuple, int line) implements Expr {}

  record MapOf(List<Expr> keys, List<Expr> values, int line) implements Expr {}

  /** {@code on.name}: a method or the key of a map. */
  record Attribute(Expr on, String name, int line) implements Expr {}

  /** {@code on[key]}. */
  record Item(Expr on, Expr key, int line) implements Expr {}

  /** {@code on[from:to:step]}; null = left out. */
  record Slice(Expr on, Expr from, Expr to, Expr step, int line) implements Expr {}

  record Call(Expr callee, Arguments arguments, int line) implements Expr {}

  /** {@code on | name(arguments)}; in a filter block {@code on} is null. */
  record Filter(Expr on, String name, Arguments arguments, int line) implements Expr {}

  /** {@code on is name(arguments)}. */
  record Test(Expr on, String name, Arguments arguments, boolean negated, int line)
      implements Expr {}

  /** Not, minus, plus. */
  record Unary(String operator, Expr on, int line) implements Expr {}

  record Binary(String operator, Expr left, Expr right, int line) implements Expr {}

  /**
   * {@code first op1 second op2 third ...}: all must hold; evaluated up to the first that fails.
   */
  record Compare(Expr first, List<String> operators, List<Expr> others, int line) implements Expr {}

  record And(Expr left, Expr right, int line) implements Expr {}

  record Or(Expr left, Expr right, int line) implements Expr {}

  /** {@code then if condition else other}; {@code other} may be null. */
  record If(Expr condition, Expr then, Expr other, int line) implements Expr {}

  /**
   * What stands in the parentheses of a call.
   *
   * @param names of the arguments given by name, whose values are {@code named}
   * @param list of {@code *list}, or null
   * @param map of {@code **map}, or null
   */
  record Arguments(
      List<Expr> positional, List<String> names, List<Expr> named, Expr list, Expr map) {
    static final Arguments NONE = new Arguments(List.of(), List.of(), List.of(), null, null);
  }
}
