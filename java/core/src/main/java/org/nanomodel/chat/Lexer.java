package org.nanomodel.chat;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Cuts a template into tokens, with jinja2's rules of white space as transformers sets them:
 * trim_blocks (the line end after a statement or comment goes) and lstrip_blocks (so do the spaces
 * before one that begins a line); {@code -} and {@code +} at a tag's ends say otherwise.
 */
final class Lexer {
  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int at;
  private int line = 1;
  private boolean lineStart = true; // of what follows a tag

  private Lexer(String source) {
    this.source = source;
  }

  static List<Token> tokens(String template) {
    String source = template.replace("\r\n", "\n").replace('\r', '\n');
    if (source.endsWith("\n")) {
      source = source.substring(0, source.length() - 1);
    }
    var lexer = new Lexer(source);
    lexer.run();
    return lexer.tokens;
  }

  private void run() {
    while (at < source.length()) {
      int tag = nextTag();
      if (tag < 0) {
        text(source.substring(at), ' ', false);
        moveTo(source.length());
        break;
      }
      char kind = source.charAt(tag + 1);
      char sign = sign(tag + 2);
      text(source.substring(at, tag), sign, kind != '{');
      moveTo(tag + 2 + (sign == ' ' ? 0 : 1));
      switch (kind) {
        case '#' -> comment();
        case '{' -> expression(Token.Kind.OUTPUT_BEGIN, Token.Kind.OUTPUT_END, "}}");
        default -> {
          if (!raw()) {
            expression(Token.Kind.BLOCK_BEGIN, Token.Kind.BLOCK_END, "%}");
          }
        }
      }
      lineStart = source.charAt(at - 1) == '\n';
    }
    add(Token.Kind.END, "");
  }

  private int nextTag() {
    for (int i = source.indexOf('{', at); i >= 0 && i + 1 < source.length(); ) {
      if ("{%#".indexOf(source.charAt(i + 1)) >= 0) {
        return i;
      }
      i = source.indexOf('{', i + 1);
    }
    return -1;
  }

  private char sign(int i) {
    char c = i < source.length() ? source.charAt(i) : ' ';
    return c == '-' || c == '+' ? c : ' ';
  }

  /** Text before a tag with this sign. */
  private void text(String text, char sign, boolean block) {
    int end = text.length();
    if (sign == '-') {
      end = Chars.stripEnd(text);
    } else if (sign != '+' && block) {
      int begin = text.lastIndexOf('\n') + 1;
      if ((begin > 0 || lineStart) && Chars.isSpace(text, begin)) {
        end = begin;
      }
    }
    if (end > 0) {
      add(Token.Kind.TEXT, text.substring(0, end));
    }
  }

  private void comment() {
    int end = source.indexOf("#}", at);
    if (end < 0) {
      throw new TemplateException("the comment has no end", line);
    }
    char sign = end > at ? sign(end - 1) : ' ';
    moveTo(end + 2);
    afterBlock(sign);
  }

  /** White space after a statement or comment that ended with this sign. */
  private void afterBlock(char sign) {
    if (sign == '-') {
      skipSpace();
    } else if (sign != '+' && at < source.length() && source.charAt(at) == '\n') {
      moveTo(at + 1);
    }
  }

  /** {@code {% raw %}}: what stands before endraw is text. */
  private boolean raw() {
    int start = Chars.skipSpace(source, at);
    if (!source.startsWith("raw", start)) {
      return false;
    }
    int close = Chars.skipSpace(source, start + 3);
    boolean dash = source.startsWith("-%}", close);
    if (!dash && !source.startsWith("%}", close)) {
      return false;
    }
    moveTo(close + (dash ? 3 : 2));
    if (dash) {
      skipSpace();
    }
    lineStart = source.charAt(at - 1) == '\n';
    for (int i = source.indexOf("{%", at); i >= 0; i = source.indexOf("{%", i + 1)) {
      char sign = sign(i + 2);
      int word = Chars.skipSpace(source, i + (sign == ' ' ? 2 : 3));
      int end = word + "endraw".length();
      if (source.startsWith("endraw", word)) {
        int tail = Chars.skipSpace(source, end);
        char endSign = sign(tail);
        int tagEnd = tail + (endSign == ' ' ? 0 : 1);
        if (source.startsWith("%}", tagEnd)) {
          text(source.substring(at, i), sign, true);
          moveTo(tagEnd + 2);
          afterBlock(endSign);
          return true;
        }
      }
    }
    throw new TemplateException("raw has no endraw", line);
  }

  private void expression(Token.Kind begin, Token.Kind end, String close) {
    add(begin, "");
    int opened = line;
    Deque<Character> brackets = new ArrayDeque<>();
    while (true) {
      skipSpace();
      if (at >= source.length()) {
        throw new TemplateException("the tag that begins here has no end", opened);
      }
      if (brackets.isEmpty()) {
        char sign = sign(at);
        int closing = sign == ' ' || sign == '+' && end == Token.Kind.OUTPUT_END ? at : at + 1;
        if (source.startsWith(close, closing)) {
          add(end, "");
          moveTo(closing + 2);
          if (end == Token.Kind.BLOCK_END) {
            afterBlock(sign);
          } else if (sign == '-') {
            skipSpace();
          }
          return;
        }
      }
      word(brackets);
    }
  }

  private void word(Deque<Character> brackets) {
    char c = source.charAt(at);
    if (c == '"' || c == '\'') {
      var literal = Literals.string(source, at, line);
      add(Token.Kind.STRING, literal.value());
      moveTo(literal.end());
    } else if (Chars.isDigit(c)) {
      var literal = Literals.number(source, at, line);
      add(Token.Kind.NUMBER, literal.value());
      moveTo(literal.end());
    } else if (Character.isUnicodeIdentifierStart(c) || c == '_') {
      int end = at + 1;
      while (end < source.length() && Character.isUnicodeIdentifierPart(source.charAt(end))) {
        end++;
      }
      add(Token.Kind.NAME, source.substring(at, end));
      moveTo(end);
    } else {
      operator(brackets);
    }
  }

  private static final List<String> OPERATORS =
      List.of(
          "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")",
          "[", "]", "{", "}", ".", ",", ":", "|", ";");

  private void operator(Deque<Character> brackets) {
    for (String operator : OPERATORS) {
      if (source.startsWith(operator, at)) {
        char c = operator.charAt(0);
        if ("([{".indexOf(c) >= 0) {
          brackets.push(")]}".charAt("([{".indexOf(c)));
        } else if (")]}".indexOf(c) >= 0 && (brackets.isEmpty() || brackets.pop() != c)) {
          throw new TemplateException("'" + c + "' closes nothing", line);
        }
        add(Token.Kind.OPERATOR, operator);
        moveTo(at + operator.length());
        return;
      }
    }
    throw new TemplateException("unexpected character '" + source.charAt(at) + "'", line);
  }

  private void skipSpace() {
    moveTo(Chars.skipSpace(source, at));
  }

  private void add(Token.Kind kind, Object value) {
    tokens.add(new Token(kind, value, line));
  }

  private void moveTo(int target) {
    for (; at < target; at++) {
      if (source.charAt(at) == '\n') {
        line++;
      }
    }
  }
}
