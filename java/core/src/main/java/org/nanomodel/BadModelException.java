package org.nanomodel;

/**
 * A model's files contradict themselves or the format; the message names the file and the field or
 * tensor.
 */
public class BadModelException extends NanoModelException {
  private static final long serialVersionUID = 1L;

  public BadModelException(String message) {
    super(message);
  }

  public BadModelException(String message, Throwable cause) {
    super(message, cause);
  }
}
