package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.nanomodel.chat.Stmt.Target;

/** Parses the statements of a template. */
final class Parser {
  private static final Set<String> NOT_NAMES =
      Set.of("true", "True", "false", "False", "none", "None", "not", "and", "or", "if", "in");

  private final Tokens tokens;
  private final ExprParser expressions;
  private int loops;

  private Parser(List<Token> tokens) {
    this.tokens = new Tokens(tokens);
    this.expressions = new ExprParser(this.tokens);
  }

  static List<Stmt> parse(String template) {
    var parser = new Parser(Lexer.tokens(template));
    List<Stmt> body = parser.body(Set.of());
    if (!parser.tokens.isKind(Token.Kind.END)) {
      throw new TemplateException(
          "'" + parser.tokens.peek().value() + "' ends nothing", parser.tokens.line());
    }
    return body;
  }

  /** Statements up to a tag with one of these names, which is next then. */
  private List<Stmt> body(Set<String> ends) {
    tokens.enter();
    List<Stmt> body = new ArrayList<>();
    while (true) {
      Token token = tokens.next();
      switch (token.kind()) {
        case TEXT -> body.add(new Stmt.Text((String) token.value(), token.line()));
        case OUTPUT_BEGIN -> {
          body.add(new Stmt.Output(expressions.tuple(true), token.line()));
          tokens.expect(Token.Kind.OUTPUT_END, "the end of the expression");
        }
        case BLOCK_BEGIN -> {
          if (tokens.isKind(Token.Kind.NAME) && ends.contains(tokens.peek().value())) {
            tokens.leave();
            return body;
          }
          body.add(statement());
        }
        default -> {
          if (!ends.isEmpty()) {
            throw tokens.expected("one of " + String.join(", ", ends.stream().sorted().toList()));
          }
          tokens.leave();
          return body;
        }
      }
    }
  }

  private List<Stmt> bodyAndEnd(String end) {
    List<Stmt> body = body(Set.of(end));
    tokens.next();
    endTag();
    return body;
  }

  private void endTag() {
    tokens.expect(Token.Kind.BLOCK_END, "the end of the statement");
  }

  private Stmt statement() {
    int line = tokens.line();
    String name = tokens.expectName();
    return switch (name) {
      case "if" -> ifStatement(line);
      case "for" -> forStatement(line);
      case "set" -> set(line);
      case "macro" -> macro(line);
      case "call" -> call(line);
      case "filter" -> filterBlock(line);
      case "with" -> with(line);
      case "generation" -> {
        endTag();
        yield new Stmt.Generation(bodyAndEnd("endgeneration"), line);
      }
      case "break", "continue" -> {
        if (loops == 0) {
          throw new TemplateException("'" + name + "' outside of a loop", line);
        }
        endTag();
        yield name.equals("break") ? new Stmt.Break(line) : new Stmt.Continue(line);
      }
      default ->
          throw new TemplateException(
              "'"
                  + name
                  + "' is no statement here; there are if, for, set, macro, call, filter, with,"
                  + " generation, raw, break, continue",
              line);
    };
  }

  private Stmt ifStatement(int line) {
    List<Expr> conditions = new ArrayList<>();
    List<List<Stmt>> bodies = new ArrayList<>();
    while (true) {
      conditions.add(expressions.tuple(false));
      endTag();
      bodies.add(body(Set.of("elif", "else", "endif")));
      String next = tokens.expectName();
      if (next.equals("else")) {
        endTag();
        bodies.add(bodyAndEnd("endif"));
        return new Stmt.If(conditions, bodies, line);
      }
      if (next.equals("endif")) {
        endTag();
        return new Stmt.If(conditions, bodies, line);
      }
    }
  }

  private Stmt forStatement(int line) {
    Target target = targets();
    tokens.expectName("in");
    Expr iterable = expressions.tuple(false);
    Expr condition = tokens.takeName("if") ? expressions.expression() : null;
    boolean recursive = tokens.takeName("recursive");
    endTag();
    loops++;
    List<Stmt> body = body(Set.of("else", "endfor"));
    loops--;
    List<Stmt> otherwise = List.of();
    if (tokens.expectName().equals("else")) {
      endTag();
      otherwise = bodyAndEnd("endfor");
    } else {
      endTag();
    }
    return new Stmt.For(target, iterable, condition, recursive, body, otherwise, line);
  }

  private Stmt set(int line) {
    Target target = targets();
    if (tokens.takeOperator("=")) {
      Expr value = expressions.tuple(true);
      endTag();
      return new Stmt.Set(target, value, line);
    }
    Expr.Filter filter = filterChain(line);
    endTag();
    return new Stmt.SetBlock(target, filter, bodyAndEnd("endset"), line);
  }

  /** {@code | a | b(...)}, if there; the innermost filter has no value yet. */
  private Expr.Filter filterChain(int line) {
    Expr.Filter filter = null;
    while (tokens.takeOperator("|")) {
      filter = expressions.filter(filter, line);
    }
    return filter;
  }

  private Stmt filterBlock(int line) {
    Expr.Filter filter = expressions.filter(null, line);
    while (tokens.takeOperator("|")) {
      filter = expressions.filter(filter, line);
    }
    endTag();
    return new Stmt.FilterBlock(filter, bodyAndEnd("endfilter"), line);
  }

  private Stmt macro(int line) {
    String name = tokens.expectName();
    return macro(name, "endmacro", line);
  }

  /** From the parameters on. */
  private Stmt.Macro macro(String name, String end, int line) {
    List<String> parameters = new ArrayList<>();
    List<Expr> defaults = new ArrayList<>();
    if (end.equals("endmacro") || tokens.isOperator("(")) {
      parameters(parameters, defaults);
    }
    if (end.equals("endcall")) {
      return new Stmt.Macro(name, parameters, defaults, null, false, line);
    }
    endTag();
    int from = tokens.position();
    List<Stmt> body = outsideLoops(end);
    boolean more = tokens.namedSince(from, "varargs") || tokens.namedSince(from, "kwargs");
    return new Stmt.Macro(name, parameters, defaults, body, more, line);
  }

  private List<Stmt> outsideLoops(String end) {
    int outer = loops;
    loops = 0;
    List<Stmt> body = bodyAndEnd(end);
    loops = outer;
    return body;
  }

  /** Parameters; those without default have null for it. */
  private void parameters(List<String> names, List<Expr> defaults) {
    tokens.expectOperator("(");
    while (!tokens.takeOperator(")")) {
      names.add(tokens.expectName());
      Expr value = tokens.takeOperator("=") ? expressions.expression() : null;
      if (value == null && !defaults.isEmpty() && defaults.getLast() != null) {
        throw tokens.expected("a default, as the parameter before has one");
      }
      defaults.add(value);
      if (!tokens.isOperator(")")) {
        tokens.expectOperator(",");
      }
    }
  }

  private Stmt call(int line) {
    Stmt.Macro head = macro("caller", "endcall", line);
    Expr callee = expressions.expression();
    if (!(callee instanceof Expr.Call call)) {
      throw new TemplateException("expected a call in the call statement", line);
    }
    endTag();
    List<Stmt> body = outsideLoops("endcall");
    var caller = new Stmt.Macro("caller", head.parameters(), head.defaults(), body, false, line);
    return new Stmt.CallBlock(call, caller, line);
  }

  private Stmt with(int line) {
    List<Target> targets = new ArrayList<>();
    List<Expr> values = new ArrayList<>();
    while (!tokens.isKind(Token.Kind.BLOCK_END)) {
      if (!targets.isEmpty()) {
        tokens.expectOperator(",");
      }
      targets.add(target());
      tokens.expectOperator("=");
      values.add(expressions.expression());
    }
    endTag();
    return new Stmt.With(targets, values, bodyAndEnd("endwith"), line);
  }

  private Target targets() {
    Target first = target();
    if (!tokens.isOperator(",")) {
      return first;
    }
    List<Target> parts = new ArrayList<>(List.of(first));
    while (tokens.takeOperator(",") && tokens.isKind(Token.Kind.NAME) && !tokens.isName("in")) {
      parts.add(target());
    }
    return new Target.Several(parts);
  }

  private Target target() {
    if (tokens.takeOperator("(")) {
      Target inner = targets();
      tokens.expectOperator(")");
      return inner;
    }
    String name = tokens.expectName();
    if (NOT_NAMES.contains(name)) {
      throw new TemplateException("'" + name + "' cannot be assigned to", tokens.line());
    }
    return tokens.takeOperator(".")
        ? new Target.Member(name, tokens.expectName())
        : new Target.Variable(name);
  }
}
