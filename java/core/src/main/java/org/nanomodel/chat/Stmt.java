package org.nanomodel.chat;

import java.util.List;

/** A statement of a template; {@code line} is where it stands. */
sealed interface Stmt {
  int line();

  record Text(String text, int line) implements Stmt {}

  record Output(Expr value, int line) implements Stmt {}

  /** The last part of an if has no condition when it is an else. */
  record If(List<Expr> conditions, List<List<Stmt>> bodies, int line) implements Stmt {}

  /**
   * A loop.
   *
   * @param condition filters the elements; may be null
   * @param otherwise when there was no element
   */
  record For(
      Target target,
      Expr iterable,
      Expr condition,
      boolean recursive,
      List<Stmt> body,
      List<Stmt> otherwise,
      int line)
      implements Stmt {}

  record Set(Target target, Expr value, int line) implements Stmt {}

  /** The body becomes a text, which goes through the filter, if not null. */
  record SetBlock(Target target, Expr.Filter filter, List<Stmt> body, int line) implements Stmt {}

  record FilterBlock(Expr.Filter filter, List<Stmt> body, int line) implements Stmt {}

  /**
   * A macro.
   *
   * @param more whether it takes more arguments than its parameters: whether its body names varargs
   *     or kwargs
   */
  record Macro(
      String name,
      List<String> parameters,
      List<Expr> defaults,
      List<Stmt> body,
      boolean more,
      int line)
      implements Stmt {}

  /** Calls a macro, which may call the body as {@code caller()}. */
  record CallBlock(Expr.Call call, Macro caller, int line) implements Stmt {}

  record With(List<Target> targets, List<Expr> values, List<Stmt> body, int line) implements Stmt {}

  /** Marks what the assistant wrote, for training; renders its body. */
  record Generation(List<Stmt> body, int line) implements Stmt {}

  record Break(int line) implements Stmt {}

  record Continue(int line) implements Stmt {}

  /** What is assigned to. */
  sealed interface Target {
    record Variable(String name) implements Target {}

    /** {@code set space.name = ...}. */
    record Member(String space, String name) implements Target {}

    record Several(List<Target> parts) implements Target {}
  }
}
