package org.nanomodel.chat;

import java.util.List;

/** The tokens of a template, read one after another by its parsers. */
final class Tokens {
  private final List<Token> tokens;
  private int at;
  private int depth;

  Tokens(List<Token> tokens) {
    this.tokens = tokens;
  }

  Token peek() {
    return tokens.get(at);
  }

  Token next() {
    Token token = tokens.get(at);
    if (token.kind() != Token.Kind.END) {
      at++;
    }
    return token;
  }

  int line() {
    return peek().line();
  }

  boolean isOperator(String operator) {
    return peek().is(Token.Kind.OPERATOR, operator);
  }

  boolean isName(String name) {
    return peek().is(Token.Kind.NAME, name);
  }

  boolean isKind(Token.Kind kind) {
    return peek().kind() == kind;
  }

  /** Is the token after the next one this operator? */
  boolean followedBy(String operator) {
    return at + 1 < tokens.size() && tokens.get(at + 1).is(Token.Kind.OPERATOR, operator);
  }

  boolean followedByName(String name) {
    return at + 1 < tokens.size() && tokens.get(at + 1).is(Token.Kind.NAME, name);
  }

  /** How many were read. */
  int position() {
    return at;
  }

  /** Did this name come up since that position? */
  boolean namedSince(int position, String name) {
    return tokens.subList(position, at).stream().anyMatch(t -> t.is(Token.Kind.NAME, name));
  }

  /** Takes the operator if it comes next. */
  boolean takeOperator(String operator) {
    return take(isOperator(operator));
  }

  boolean takeName(String name) {
    return take(isName(name));
  }

  private boolean take(boolean there) {
    if (there) {
      at++;
    }
    return there;
  }

  void expectOperator(String operator) {
    if (!takeOperator(operator)) {
      throw expected("'" + operator + "'");
    }
  }

  void expectName(String name) {
    if (!takeName(name)) {
      throw expected("'" + name + "'");
    }
  }

  String expectName() {
    if (!isKind(Token.Kind.NAME)) {
      throw expected("a name");
    }
    return (String) next().value();
  }

  void expect(Token.Kind kind, String what) {
    if (!isKind(kind)) {
      throw expected(what);
    }
    at++;
  }

  TemplateException expected(String what) {
    return new TemplateException("expected " + what + ", got " + peek().shown(), line());
  }

  /** One more level of nesting; as deep as a rendering may go. */
  void enter() {
    if (++depth > Budget.MAX_DEPTH) {
      throw new TemplateException(
          "is nested more than " + Budget.MAX_DEPTH + " levels deep", line());
    }
  }

  void leave() {
    depth--;
  }
}
