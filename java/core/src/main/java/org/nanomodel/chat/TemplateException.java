package org.nanomodel.chat;

import org.nanomodel.NanoModelException;

/**
 * A chat template is malformed, asks for more than its bounds allow, or refuses the messages it was
 * given. The message names the line of the template.
 */
public class TemplateException extends NanoModelException {
  private static final long serialVersionUID = 1L;

  private final int line;

  TemplateException(String what, int line) {
    super("chat template, line " + line + ": " + what);
    this.line = line;
  }

  /** Of the template, from 1. */
  public int line() {
    return line;
  }
}
