package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.nanomodel.chat.Expr.Arguments;

/**
 * Parses expressions, in jinja2's order of precedence: if-else, or, and, not, comparisons, + -, ~,
 * * / // %, **, sign, and what is attached to a primary expression.
 */
final class ExprParser {
  private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

  private final Tokens tokens;

  ExprParser(Tokens tokens) {
    this.tokens = tokens;
  }

  /** An expression, or several separated by commas, which are a tuple. */
  Expr tuple(boolean conditional) {
    int line = tokens.line();
    Expr first = conditional ? expression() : or();
    if (!tokens.isOperator(",")) {
      return first;
    }
    List<Expr> items = new ArrayList<>(List.of(first));
    while (tokens.takeOperator(",") && !endsTuple()) {
      items.add(conditional ? expression() : or());
    }
    return new Expr.ListOf(items, true, line);
  }

  private boolean endsTuple() {
    return tokens.isOperator(")")
        || tokens.isKind(Token.Kind.OUTPUT_END)
        || tokens.isKind(Token.Kind.BLOCK_END)
        || tokens.isName("recursive");
  }

  Expr expression() {
    tokens.enter();
    int line = tokens.line();
    Expr value = or();
    while (tokens.takeName("if")) {
      Expr condition = or();
      Expr other = tokens.takeName("else") ? expression() : null;
      value = new Expr.If(condition, value, other, line);
    }
    tokens.leave();
    return value;
  }

  Expr or() {
    int line = tokens.line();
    Expr left = and();
    while (tokens.takeName("or")) {
      left = new Expr.Or(left, and(), line);
    }
    return left;
  }

  private Expr and() {
    int line = tokens.line();
    Expr left = not();
    while (tokens.takeName("and")) {
      left = new Expr.And(left, not(), line);
    }
    return left;
  }

  private Expr not() {
    int line = tokens.line();
    if (!tokens.takeName("not")) {
      return compare();
    }
    tokens.enter();
    Expr on = not();
    tokens.leave();
    return new Expr.Unary("not", on, line);
  }

  private Expr compare() {
    int line = tokens.line();
    Expr first = sum();
    List<String> operators = new ArrayList<>();
    List<Expr> others = new ArrayList<>();
    while (true) {
      if (tokens.isKind(Token.Kind.OPERATOR) && COMPARISONS.contains(tokens.peek().value())) {
        operators.add((String) tokens.next().value());
      } else if (tokens.takeName("in")) {
        operators.add("in");
      } else if (tokens.isName("not") && tokens.followedByName("in")) {
        tokens.next();
        tokens.next();
        operators.add("not in");
      } else {
        return others.isEmpty() ? first : new Expr.Compare(first, operators, others, line);
      }
      others.add(sum());
    }
  }

  private Expr sum() {
    int line = tokens.line();
    Expr left = concat();
    while (tokens.isOperator("+") || tokens.isOperator("-")) {
      String operator = (String) tokens.next().value();
      left = new Expr.Binary(operator, left, concat(), line);
    }
    return left;
  }

  private Expr concat() {
    int line = tokens.line();
    Expr left = product();
    while (tokens.takeOperator("~")) {
      left = new Expr.Binary("~", left, product(), line);
    }
    return left;
  }

  private Expr product() {
    int line = tokens.line();
    Expr left = power();
    while (tokens.isOperator("*")
        || tokens.isOperator("/")
        || tokens.isOperator("//")
        || tokens.isOperator("%")) {
      String operator = (String) tokens.next().value();
      left = new Expr.Binary(operator, left, power(), line);
    }
    return left;
  }

  private Expr power() {
    int line = tokens.line();
    Expr left = unary(true);
    while (tokens.takeOperator("**")) {
      left = new Expr.Binary("**", left, unary(true), line);
    }
    return left;
  }

  private Expr unary(boolean withFilters) {
    int line = tokens.line();
    tokens.enter();
    Expr value;
    if (tokens.isOperator("-") || tokens.isOperator("+")) {
      String operator = (String) tokens.next().value();
      value = new Expr.Unary(operator, unary(false), line);
    } else {
      value = primary();
    }
    tokens.leave();
    value = postfix(value);
    return withFilters ? filters(value) : value;
  }

  private Expr primary() {
    Token token = tokens.peek();
    int line = token.line();
    switch (token.kind()) {
      case NAME -> {
        tokens.next();
        return switch ((String) token.value()) {
          case "true", "True" -> new Expr.Const(true, line);
          case "false", "False" -> new Expr.Const(false, line);
          case "none", "None" -> new Expr.Const(null, line);
          default -> new Expr.Name((String) token.value(), line);
        };
      }
      case STRING -> {
        return string(line);
      }
      case NUMBER -> {
        return new Expr.Const(tokens.next().value(), line);
      }
      default -> {
        if (tokens.takeOperator("(")) {
          return parenthesized(line);
        }
        if (tokens.takeOperator("[")) {
          return new Expr.ListOf(items("]"), false, line);
        }
        if (tokens.takeOperator("{")) {
          return map(line);
        }
        throw tokens.expected("an expression");
      }
    }
  }

  /** Strings that follow one another are one. */
  private Expr string(int line) {
    StringBuilder text = new StringBuilder();
    while (tokens.isKind(Token.Kind.STRING)) {
      text.append(tokens.next().value());
    }
    return new Expr.Const(text.toString(), line);
  }

  private Expr parenthesized(int line) {
    if (tokens.takeOperator(")")) {
      return new Expr.ListOf(List.of(), true, line);
    }
    Expr inner = tuple(true);
    tokens.expectOperator(")");
    return inner;
  }

  private List<Expr> items(String close) {
    List<Expr> items = new ArrayList<>();
    while (!tokens.takeOperator(close)) {
      if (!items.isEmpty()) {
        tokens.expectOperator(",");
        if (tokens.takeOperator(close)) {
          break;
        }
      }
      items.add(expression());
    }
    return items;
  }

  private Expr map(int line) {
    List<Expr> keys = new ArrayList<>();
    List<Expr> values = new ArrayList<>();
    while (!tokens.takeOperator("}")) {
      if (!keys.isEmpty()) {
        tokens.expectOperator(",");
        if (tokens.takeOperator("}")) {
          break;
        }
      }
      keys.add(expression());
      tokens.expectOperator(":");
      values.add(expression());
    }
    return new Expr.MapOf(keys, values, line);
  }

  private Expr postfix(Expr start) {
    Expr value = start;
    while (true) {
      int line = tokens.line();
      if (tokens.takeOperator(".")) {
        value =
            tokens.isKind(Token.Kind.NUMBER)
                ? new Expr.Item(value, new Expr.Const(tokens.next().value(), line), line)
                : new Expr.Attribute(value, tokens.expectName(), line);
      } else if (tokens.takeOperator("[")) {
        value = subscript(value, line);
      } else if (tokens.isOperator("(")) {
        value = new Expr.Call(value, arguments(), line);
      } else {
        return value;
      }
    }
  }

  private Expr subscript(Expr on, int line) {
    Expr from = tokens.isOperator(":") ? null : expression();
    if (from != null && tokens.takeOperator("]")) {
      return new Expr.Item(on, from, line);
    }
    tokens.expectOperator(":");
    Expr to = tokens.isOperator(":") || tokens.isOperator("]") ? null : expression();
    Expr step = null;
    if (tokens.takeOperator(":") && !tokens.isOperator("]")) {
      step = expression();
    }
    tokens.expectOperator("]");
    return new Expr.Slice(on, from, to, step, line);
  }

  /** {@code (a, b, name=c, *list, **map)}. */
  Arguments arguments() {
    tokens.expectOperator("(");
    List<Expr> positional = new ArrayList<>();
    List<String> names = new ArrayList<>();
    List<Expr> named = new ArrayList<>();
    Expr list = null;
    Expr map = null;
    while (!tokens.takeOperator(")")) {
      if (tokens.takeOperator("**")) {
        map = expression();
      } else if (tokens.takeOperator("*")) {
        list = expression();
      } else if (tokens.isKind(Token.Kind.NAME) && tokens.followedBy("=")) {
        names.add(tokens.expectName());
        tokens.expectOperator("=");
        named.add(expression());
      } else if (names.isEmpty() && map == null) {
        positional.add(expression());
      } else {
        throw tokens.expected("an argument with a name");
      }
      if (!tokens.isOperator(")")) {
        tokens.expectOperator(",");
      }
    }
    return new Arguments(positional, names, named, list, map);
  }

  /** Filters, tests and calls after an expression. */
  Expr filters(Expr start) {
    Expr value = start;
    while (true) {
      int line = tokens.line();
      if (tokens.takeOperator("|")) {
        value = filter(value, line);
      } else if (tokens.takeName("is")) {
        value = test(value, line);
      } else if (tokens.isOperator("(")) {
        value = new Expr.Call(value, arguments(), line);
      } else {
        return value;
      }
    }
  }

  /** What follows the bar. */
  Expr.Filter filter(Expr on, int line) {
    String name = dotted();
    if (!Filters.known(name)) {
      throw new TemplateException("there is no filter '" + name + "'", line);
    }
    return new Expr.Filter(on, name, tokens.isOperator("(") ? arguments() : Arguments.NONE, line);
  }

  private Expr test(Expr on, int line) {
    boolean negated = tokens.takeName("not");
    String name =
        tokens.isKind(Token.Kind.OPERATOR) && COMPARISONS.contains(tokens.peek().value())
            ? (String) tokens.next().value()
            : dotted();
    if (!Tests.known(name)) {
      throw new TemplateException("there is no test '" + name + "'", line);
    }
    Arguments arguments = Arguments.NONE;
    if (tokens.isOperator("(")) {
      arguments = arguments();
    } else if (beginsArgument()) {
      if (tokens.isName("is")) {
        throw new TemplateException("tests cannot be chained with 'is'", line);
      }
      Expr argument = postfix(primary());
      arguments = new Arguments(List.of(argument), List.of(), List.of(), null, null);
    }
    return new Expr.Test(on, name, arguments, negated, line);
  }

  private boolean beginsArgument() {
    return switch (tokens.peek().kind()) {
      case STRING, NUMBER -> true;
      case NAME ->
          !(tokens.isName("else")
              || tokens.isName("or")
              || tokens.isName("and")
              || tokens.isName("if")
              || tokens.isName("in")
              || tokens.isName("not"));
      default -> tokens.isOperator("[") || tokens.isOperator("{");
    };
  }

  private String dotted() {
    StringBuilder name = new StringBuilder(tokens.expectName());
    while (tokens.takeOperator(".")) {
      name.append('.').append(tokens.expectName());
    }
    return name.toString();
  }
}
