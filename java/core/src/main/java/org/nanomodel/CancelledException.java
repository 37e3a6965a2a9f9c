package org.nanomodel;

/** The work was cancelled by its caller. */
public class CancelledException extends NanoModelException {
  private static final long serialVersionUID = 1L;

  public CancelledException(String message) {
    super(message);
  }
}
