package org.nanomodel.chat;

/** What went wrong in an operation that does not know its line of the template. */
final class Fault extends RuntimeException {
  private static final long serialVersionUID = 1L;

  Fault(String message) {
    super(message, null, false, false);
  }

  static Fault of(String format, Object... values) {
    return new Fault(format.formatted(values));
  }
}
