package org.nanomodel.cli;

/** The flags are fine one by one, but not together. */
final class UsageException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  UsageException(String message) {
    super(message);
  }
}
