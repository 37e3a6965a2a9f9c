package org.nanomodel.safetensors;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Locale;

/**
 * The one exception of this library: a file that is not what it should be, a wrong call to a
 * writer, or a failed read or write (then {@link #getCause()} is the IOException).
 *
 * <p>The message is one line, {@code file: field: got ..., expected ...}. Text that came from a
 * file is shown with control and other invisible characters escaped, and is cut when long, so that
 * a message is safe to log.
 */
public final class SafetensorsException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Longest piece of foreign text in a message, in characters. */
  private static final int MAX_SHOWN = 120;

  private final transient Path file;
  private final String field;
  private final String got;
  private final String expected;

  SafetensorsException(Path file, String field, String got, String expected, Throwable cause) {
    super(
        (file == null ? "" : show(file.toString(), 4 * MAX_SHOWN) + ": ")
            + (field + ": got " + got + ", expected " + expected),
        cause);
    this.file = file;
    this.field = field;
    this.got = got;
    this.expected = expected;
  }

  SafetensorsException(Path file, String field, String got, String expected) {
    this(file, field, got, expected, null);
  }

  /** A read or write that failed. */
  static SafetensorsException io(Path file, String doing, IOException cause) {
    String got =
        switch (cause) {
          case NoSuchFileException e -> "no such file or folder";
          case AccessDeniedException e -> "access denied";
          case NotDirectoryException e -> "not a folder";
          case FileAlreadyExistsException e -> "a file in the way";
          default -> cause.getClass().getSimpleName() + " " + show(cause.getMessage());
        };
    return new SafetensorsException(file, doing, got, "success", cause);
  }

  /**
   * The file, or null when the error is not about one.
   *
   * @return path as it was given to the library
   */
  public Path file() {
    return file;
  }

  /**
   * What is wrong: a part of the header, or a tensor and its field.
   *
   * @return escaped text
   */
  public String field() {
    return field;
  }

  /**
   * What was found.
   *
   * @return escaped text
   */
  public String got() {
    return got;
  }

  /**
   * What would have been right.
   *
   * @return text
   */
  public String expected() {
    return expected;
  }

  /** Names a tensor in a message. */
  static String quoteTensor(String name) {
    return "tensor " + quote(name);
  }

  /** Foreign text in quotes. */
  static String quote(String text) {
    return "'" + show(text) + "'";
  }

  /** Foreign text made safe for one line of a log. */
  static String show(String text) {
    return show(text, MAX_SHOWN);
  }

  private static String show(String text, int max) {
    if (text == null) {
      return "null";
    }
    StringBuilder out = new StringBuilder();
    int i = 0;
    while (i < text.length() && i < max) {
      int c = text.codePointAt(i);
      if (isPlain(c)) {
        out.appendCodePoint(c);
      } else if (Character.isBmpCodePoint(c)) {
        out.append(String.format(Locale.ROOT, "\\u%04x", c));
      } else {
        out.append(String.format(Locale.ROOT, "\\u{%x}", c));
      }
      i += Character.charCount(c);
    }
    if (i < text.length()) {
      out.append("... (").append(text.length()).append(" characters)");
    }
    return out.toString();
  }

  private static boolean isPlain(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
