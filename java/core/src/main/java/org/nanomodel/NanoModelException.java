package org.nanomodel;

/**
 * The family of errors of this library. A message is one line: what, where, got, expected, what to
 * do.
 */
public class NanoModelException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public NanoModelException(String message) {
    super(message);
  }

  public NanoModelException(String message, Throwable cause) {
    super(message, cause);
  }
}
