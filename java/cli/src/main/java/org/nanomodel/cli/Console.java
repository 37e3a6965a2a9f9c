package org.nanomodel.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.util.Locale;
import org.nanomodel.ops.Cancel;

/**
 * Where a verb prints: results to standard output, all else to standard error. With {@code --json}
 * standard output gets one document and nothing else. Also holds the flag that Ctrl-C raises.
 */
final class Console {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
  private static final long PLAIN_EVERY_NANOS = 5_000_000_000L;
  private static final long LINE_EVERY_NANOS = 100_000_000L;

  private final PrintStream out;
  private final PrintStream err;
  private final PrintWriter outWriter;
  private final PrintWriter errWriter;
  private final boolean terminal;
  private final Cancel cancel = new Cancel();
  private boolean json;
  private boolean quiet;
  private boolean verbose;
  private int lineLength; // of the progress line that stands on the terminal
  private long lastProgress = System.nanoTime();

  Console(PrintStream out, PrintStream err) {
    this.out = out;
    this.err = err;
    this.outWriter = new PrintWriter(out, true);
    this.errWriter = new PrintWriter(err, true);
    this.terminal = out == System.out && System.console() != null && System.console().isTerminal();
  }

  void configure(boolean asJson, boolean isQuiet, boolean isVerbose) {
    json = asJson;
    quiet = isQuiet;
    verbose = isVerbose;
  }

  /** As if {@code --json} were given. */
  void onlyJson() {
    json = true;
  }

  PrintWriter outWriter() {
    return outWriter;
  }

  PrintWriter errWriter() {
    return errWriter;
  }

  boolean json() {
    return json;
  }

  boolean verbose() {
    return verbose;
  }

  /** Raised by Ctrl-C; hand it to whatever takes long. */
  Cancel cancel() {
    return cancel;
  }

  /** A line of the result; nothing with {@code --json}. */
  void print(String format, Object... values) {
    write(format(format, values) + System.lineSeparator());
  }

  /** Text of the result as it comes; nothing with {@code --json}. */
  void write(String text) {
    if (!json) {
      endProgress();
      out.print(text);
      out.flush();
    }
  }

  /** The one document of {@code --json}; nothing without. */
  void document(JsonNode node) {
    if (json) {
      try {
        out.println(MAPPER.writeValueAsString(node));
      } catch (JsonProcessingException e) {
        throw new IllegalStateException(e);
      }
      out.flush();
    }
  }

  /** One of several documents of {@code --json}, in a line; nothing without. */
  void documentLine(JsonNode node) {
    if (json) {
      out.println(node);
      out.flush();
    }
  }

  /** Does somebody sit in front of it? */
  boolean terminal() {
    return terminal;
  }

  /** One of the documents of JSON lines. */
  void line(JsonNode node) {
    out.println(node.toString());
    out.flush();
  }

  /** A remark to standard error; not with {@code -q}. */
  void note(String format, Object... values) {
    if (!quiet) {
      error(format(format, values));
    }
  }

  /** A line to standard error, whatever the flags. */
  void error(String line) {
    endProgress();
    err.println(line);
    err.flush();
  }

  /**
   * How far the work is: one line that is written over on a terminal, a line every few seconds
   * elsewhere.
   */
  void progress(String format, Object... values) {
    long now = System.nanoTime();
    if (quiet || now - lastProgress < (terminal ? LINE_EVERY_NANOS : PLAIN_EVERY_NANOS)) {
      return;
    }
    lastProgress = now;
    String line = format(format, values);
    if (terminal) {
      err.print("\r" + line + " ".repeat(Math.max(0, lineLength - line.length())));
      lineLength = line.length();
    } else {
      err.println(line);
    }
    err.flush();
  }

  private void endProgress() {
    if (lineLength > 0) {
      err.print("\r" + " ".repeat(lineLength) + "\r");
      lineLength = 0;
    }
  }

  void flush() {
    outWriter.flush();
    errWriter.flush();
    out.flush();
    err.flush();
  }

  private static String format(String format, Object... values) {
    return values.length == 0 ? format : String.format(Locale.ROOT, format, values);
  }
}
