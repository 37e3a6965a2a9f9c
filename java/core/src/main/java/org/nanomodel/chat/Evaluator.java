package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Computes expressions. */
final class Evaluator {
  final Budget budget;
  private final Operators operators;
  private final Attributes attributes;
  private final Filters filters;
  private int line = 1;

  Evaluator(Budget budget) {
    this.budget = budget;
    this.operators = new Operators(budget);
    this.attributes = new Attributes(budget, operators);
    this.filters = new Filters(budget, operators, attributes);
  }

  /** Where the template is being read: what an error names. */
  int line() {
    return line;
  }

  void at(int now) {
    line = now;
    budget.step();
  }

  Object eval(Expr expr, Scope scope) {
    budget.enter();
    try {
      Object value = compute(expr, scope);
      line = expr.line();
      return value;
    } finally {
      budget.leave();
    }
  }

  private Object compute(Expr expr, Scope scope) {
    at(expr.line());
    return switch (expr) {
      case Expr.Const c -> c.value();
      case Expr.Name n -> scope.get(n.name());
      case Expr.ListOf list -> {
        List<Object> items = all(list.items(), scope);
        yield list.tuple() ? new Tuple(items) : items;
      }
      case Expr.MapOf map -> mapOf(map, scope);
      case Expr.Attribute a -> attributes.get(eval(a.on(), scope), a.name());
      case Expr.Item i -> attributes.item(eval(i.on(), scope), eval(i.key(), scope));
      case Expr.Slice s ->
          operators.slice(
              eval(s.on(), scope),
              orNull(s.from(), scope),
              orNull(s.to(), scope),
              orNull(s.step(), scope));
      case Expr.Call call -> call(call, scope, null);
      case Expr.Filter filter -> filter(filter, eval(filter.on(), scope), scope);
      case Expr.Test test ->
          test.negated()
              != Tests.test(
                  test.name(), eval(test.on(), scope), args(test.arguments(), scope), operators);
      case Expr.Unary u -> operators.unary(u.operator(), eval(u.on(), scope));
      case Expr.Binary b ->
          operators.binary(b.operator(), eval(b.left(), scope), eval(b.right(), scope));
      case Expr.Compare c -> compare(c, scope);
      case Expr.And and -> {
        Object left = eval(and.left(), scope);
        yield Values.truth(left) ? eval(and.right(), scope) : left;
      }
      case Expr.Or or -> {
        Object left = eval(or.left(), scope);
        yield Values.truth(left) ? left : eval(or.right(), scope);
      }
      case Expr.If choice -> {
        if (Values.truth(eval(choice.condition(), scope))) {
          yield eval(choice.then(), scope);
        }
        yield choice.other() == null
            ? new Undefined("the inline if was false and has no else, so its value")
            : eval(choice.other(), scope);
      }
    };
  }

  private Object orNull(Expr expr, Scope scope) {
    return expr == null ? null : eval(expr, scope);
  }

  private List<Object> all(List<Expr> exprs, Scope scope) {
    List<Object> values = new ArrayList<>(exprs.size());
    for (Expr expr : exprs) {
      values.add(eval(expr, scope));
    }
    return values;
  }

  private Object mapOf(Expr.MapOf map, Scope scope) {
    Map<Object, Object> values = new LinkedHashMap<>();
    for (int i = 0; i < map.keys().size(); i++) {
      values.put(Operators.key(eval(map.keys().get(i), scope)), eval(map.values().get(i), scope));
    }
    return values;
  }

  private Object compare(Expr.Compare c, Scope scope) {
    Object left = eval(c.first(), scope);
    for (int i = 0; i < c.operators().size(); i++) {
      Object right = eval(c.others().get(i), scope);
      if (!operators.compare(c.operators().get(i), left, right)) {
        return false;
      }
      left = right;
    }
    return true;
  }

  /** A filter, and those before it in a filter block, whose innermost gets the value. */
  Object filterChain(Expr.Filter filter, Object value, Scope scope) {
    Object in =
        filter.on() instanceof Expr.Filter before ? filterChain(before, value, scope) : value;
    return filter(filter, in, scope);
  }

  private Object filter(Expr.Filter filter, Object value, Scope scope) {
    Args args = args(filter.arguments(), scope);
    line = filter.line();
    return filters.apply(filter.name(), value, args);
  }

  /**
   * Calls.
   *
   * @param caller the body of a call statement, or null
   */
  Object call(Expr.Call call, Scope scope, Callable caller) {
    Object callee = eval(call.callee(), scope);
    Args args = args(call.arguments(), scope);
    line = call.line();
    if (caller != null) {
      Map<String, Object> named = new LinkedHashMap<>(args.named());
      named.put("caller", caller);
      args = new Args(args.positional(), named);
    }
    return switch (callee) {
      case Callable function -> function.call(args);
      case Undefined u -> throw u.fault();
      case null, default -> throw Fault.of("%s cannot be called", Values.type(callee));
    };
  }

  private Args args(Expr.Arguments arguments, Scope scope) {
    if (arguments == Expr.Arguments.NONE) {
      return Args.NONE;
    }
    List<Object> positional = all(arguments.positional(), scope);
    if (arguments.list() != null) {
      positional.addAll(Values.elements(eval(arguments.list(), scope), budget));
    }
    Map<String, Object> named = new LinkedHashMap<>();
    for (int i = 0; i < arguments.names().size(); i++) {
      named.put(arguments.names().get(i), eval(arguments.named().get(i), scope));
    }
    if (arguments.map() != null) {
      if (!(eval(arguments.map(), scope) instanceof Map<?, ?> map)) {
        throw new Fault("what follows ** is no map");
      }
      map.forEach((key, value) -> named.put(Values.text(key), value));
    }
    return new Args(positional, named);
  }
}
