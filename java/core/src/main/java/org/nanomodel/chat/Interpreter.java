package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import org.nanomodel.chat.Stmt.Target;

/** Runs the statements of a template. */
final class Interpreter {
  private enum Flow {
    ON,
    BREAK,
    CONTINUE
  }

  private final Budget budget;
  private final Evaluator evaluator;
  private StringBuilder out = new StringBuilder();

  Interpreter(Budget budget) {
    this.budget = budget;
    this.evaluator = new Evaluator(budget);
  }

  int line() {
    return evaluator.line();
  }

  String run(List<Stmt> body, Scope scope) {
    runAll(body, scope);
    return out.toString();
  }

  private Flow runAll(List<Stmt> body, Scope scope) {
    budget.enter();
    try {
      for (Stmt statement : body) {
        Flow flow = run(statement, scope);
        if (flow != Flow.ON) {
          return flow;
        }
      }
      return Flow.ON;
    } finally {
      budget.leave();
    }
  }

  private Flow run(Stmt statement, Scope scope) {
    evaluator.at(statement.line());
    switch (statement) {
      case Stmt.Text text -> print(text.text());
      case Stmt.Output output -> print(Printer.str(evaluator.eval(output.value(), scope), budget));
      case Stmt.If choice -> {
        return choose(choice, scope);
      }
      case Stmt.For loop -> {
        return loop(loop, evaluator.eval(loop.iterable(), scope), 0, scope);
      }
      case Stmt.Set set -> assign(set.target(), evaluator.eval(set.value(), scope), scope);
      case Stmt.SetBlock set ->
          assign(set.target(), filtered(set.filter(), set.body(), scope), scope);
      case Stmt.FilterBlock block ->
          print(Printer.str(filtered(block.filter(), block.body(), scope), budget));
      case Stmt.Macro macro -> scope.set(macro.name(), new Macro(macro, scope));
      case Stmt.CallBlock call -> {
        Object made = evaluator.call(call.call(), scope, new Macro(call.caller(), scope));
        print(Printer.str(made, budget));
      }
      case Stmt.With with -> {
        Scope inner = new Scope(scope);
        for (int i = 0; i < with.targets().size(); i++) {
          assign(with.targets().get(i), evaluator.eval(with.values().get(i), scope), inner);
        }
        return runAll(with.body(), inner);
      }
      case Stmt.Generation generation -> {
        return runAll(generation.body(), scope);
      }
      case Stmt.Break _ -> {
        return Flow.BREAK;
      }
      case Stmt.Continue _ -> {
        return Flow.CONTINUE;
      }
    }
    return Flow.ON;
  }

  private void print(String text) {
    budget.text(
        (long) out.length() + text.length() > Budget.MAX_TEXT
            ? Budget.MAX_TEXT + 1L
            : text.length());
    out.append(text);
  }

  private Flow choose(Stmt.If choice, Scope scope) {
    for (int i = 0; i < choice.bodies().size(); i++) {
      if (i == choice.conditions().size()
          || Values.truth(evaluator.eval(choice.conditions().get(i), scope))) {
        return runAll(choice.bodies().get(i), scope);
      }
    }
    return Flow.ON;
  }

  private Flow loop(Stmt.For loop, Object iterable, int depth, Scope scope) {
    List<Object> items = Values.elements(iterable, budget);
    if (loop.condition() != null) {
      items = filtered(loop, items, scope);
    }
    if (items.isEmpty()) {
      return runAll(loop.otherwise(), new Scope(scope));
    }
    Callable recursion =
        !loop.recursive()
            ? null
            : args ->
                captured(() -> loop(loop, args.atMost(1).require(0, "iterable"), depth + 1, scope));
    Loop variable = new Loop(items, depth, recursion, budget);
    for (Object item : items) {
      budget.step();
      variable.advance();
      Scope inner = new Scope(scope);
      inner.set("loop", variable);
      assign(loop.target(), item, inner);
      if (runAll(loop.body(), inner) == Flow.BREAK) {
        break;
      }
    }
    return Flow.ON;
  }

  private List<Object> filtered(Stmt.For loop, List<Object> items, Scope scope) {
    List<Object> kept = new ArrayList<>();
    for (Object item : items) {
      budget.step();
      Scope inner = new Scope(scope);
      assign(loop.target(), item, inner);
      if (Values.truth(evaluator.eval(loop.condition(), inner))) {
        kept.add(item);
      }
    }
    return kept;
  }

  private void assign(Target target, Object value, Scope scope) {
    switch (target) {
      case Target.Variable variable -> scope.set(variable.name(), value);
      case Target.Member member -> {
        if (!(scope.get(member.space()) instanceof Namespace space)) {
          throw Fault.of(
              "'%s' is no namespace, so '%s.%s' cannot be set",
              member.space(), member.space(), member.name());
        }
        space.values().put(member.name(), value);
      }
      case Target.Several several -> {
        List<Object> values = Values.elements(value, budget);
        if (values.size() != several.parts().size()) {
          throw Fault.of("cannot unpack %d values into %d", values.size(), several.parts().size());
        }
        for (int i = 0; i < values.size(); i++) {
          assign(several.parts().get(i), values.get(i), scope);
        }
      }
    }
  }

  private Object filtered(Expr.Filter filter, List<Stmt> body, Scope scope) {
    String text = captured(() -> runAll(body, new Scope(scope)));
    return filter == null ? text : evaluator.filterChain(filter, text, scope);
  }

  private String captured(Runnable work) {
    StringBuilder outer = out;
    out = new StringBuilder();
    try {
      work.run();
      return out.toString();
    } finally {
      out = outer;
    }
  }

  /** A macro sees the variables of where it was defined. */
  private final class Macro implements Callable {
    private final Stmt.Macro macro;
    private final Scope defined;

    Macro(Stmt.Macro macro, Scope defined) {
      this.macro = macro;
      this.defined = defined;
    }

    @Override
    public Object call(Args args) {
      Scope scope = new Scope(defined);
      List<String> parameters = macro.parameters();
      if (args.named().containsKey("caller")) {
        scope.set("caller", args.named().get("caller"));
      }
      for (int i = 0; i < parameters.size(); i++) {
        String name = parameters.get(i);
        if (args.has(i, name)) {
          scope.set(name, args.get(i, name, null));
        } else if (macro.defaults().get(i) != null) {
          scope.set(name, evaluator.eval(macro.defaults().get(i), scope));
        } else {
          scope.set(name, new Undefined("the parameter '" + name + "'"));
        }
      }
      setRest(args, scope);
      return captured(() -> runAll(macro.body(), scope));
    }

    private void setRest(Args args, Scope scope) {
      List<Object> given = args.positional();
      int taken = Math.min(given.size(), macro.parameters().size());
      var rest = new LinkedHashMap<Object, Object>(args.named());
      rest.keySet().removeAll(macro.parameters());
      rest.remove("caller");
      if (!macro.more() && (taken < given.size() || !rest.isEmpty())) {
        throw Fault.of(
            "macro '%s' takes %d arguments: %s",
            macro.name(), macro.parameters().size(), String.join(", ", macro.parameters()));
      }
      scope.set("varargs", new Tuple(given.subList(taken, given.size())));
      scope.set("kwargs", rest);
    }
  }
}
