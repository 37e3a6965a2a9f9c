package org.nanomodel.cli;

/** What the command ends with. */
final class ExitCode {
  static final int DONE = 0;
  static final int FAILURE = 1;
  static final int USAGE = 2;
  static final int BAD_MODEL = 3;
  static final int RESOURCES = 4;
  static final int INTERRUPTED = 5;

  private ExitCode() {}
}
