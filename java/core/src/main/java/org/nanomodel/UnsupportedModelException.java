package org.nanomodel;

/** A sound model that this version does not serve; the message lists what it does serve. */
public class UnsupportedModelException extends NanoModelException {
  private static final long serialVersionUID = 1L;

  public UnsupportedModelException(String message) {
    super(message);
  }
}
