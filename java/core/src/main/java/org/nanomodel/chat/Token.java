package org.nanomodel.chat;

/** A piece of a template. {@code value} is the text, the operator, the name, or the constant. */
record Token(Kind kind, Object value, int line) {
  enum Kind {
    TEXT,
    OUTPUT_BEGIN,
    OUTPUT_END,
    BLOCK_BEGIN,
    BLOCK_END,
    NAME,
    STRING,
    NUMBER,
    OPERATOR,
    END
  }

  boolean is(Kind wanted, String text) {
    return kind == wanted && value.equals(text);
  }

  String shown() {
    return switch (kind) {
      case END -> "the end of the template";
      case BLOCK_END -> "the end of the statement";
      case OUTPUT_END -> "the end of the expression";
      default -> "'" + value + "'";
    };
  }
}
