package org.nanomodel.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.FileSystemException;
import java.util.List;
import org.nanomodel.BadModelException;
import org.nanomodel.CancelledException;
import org.nanomodel.NativeException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.safetensors.SafetensorsException;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/**
 * Whatever goes wrong becomes one line on standard error, an exit code, and with --json a document.
 */
final class Failures implements IParameterExceptionHandler, IExecutionExceptionHandler {
  /** What an error is. */
  private record Kind(int code, String type) {}

  private final Console console;
  private final List<String> args;

  Failures(Console console, String[] args) {
    this.console = console;
    this.args = List.of(args);
  }

  @Override
  public int handleParseException(ParameterException e, String[] unused) {
    String message = e.getMessage();
    String verb = args.stream().filter(arg -> !arg.startsWith("-")).findFirst().orElse("");
    CommandLine command = e.getCommandLine();
    if (command.getParent() == null && Verbs.LATER.contains(verb)) {
      message =
          "Verb '"
              + verb
              + "' is not part of this version; it has "
              + Verbs.built(command.getCommandSpec());
    } else if (command.getParent() == null && e instanceof CommandLine.UnmatchedArgumentException) {
      message =
          "Unknown verb '" + verb + "'; expected one of " + Verbs.built(command.getCommandSpec());
    }
    String help =
        "nanomodel " + (command.getParent() == null ? "" : command.getCommandName() + " ");
    console.configure(args.contains("--json"), false, args.contains("-v"));
    return report(e, new Kind(ExitCode.USAGE, "usage"), message + " (see " + help + "--help)");
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine command, ParseResult result) {
    return report(e, kind(e), message(e));
  }

  /** Errors that are no exceptions, which picocli lets pass. */
  int handleError(Error e) {
    if (e instanceof OutOfMemoryError || e instanceof StackOverflowError) {
      String remedy = "; give the JVM more with NANOMODEL_JAVA_OPTS=-Xmx8g, or use a smaller model";
      return report(
          e, new Kind(ExitCode.RESOURCES, "memory"), "Out of memory: " + e.getMessage() + remedy);
    }
    return report(e, new Kind(ExitCode.FAILURE, "failure"), e.toString());
  }

  private static Kind kind(Exception e) {
    return switch (e) {
      case UsageException u -> new Kind(ExitCode.USAGE, "usage");
      case IllegalArgumentException i -> new Kind(ExitCode.USAGE, "usage");
      case BadModelException b -> new Kind(ExitCode.BAD_MODEL, "bad_model");
      case SafetensorsException s -> new Kind(ExitCode.BAD_MODEL, "bad_model");
      case UnsupportedModelException u -> new Kind(ExitCode.BAD_MODEL, "unsupported_model");
      case CancelledException c -> new Kind(ExitCode.INTERRUPTED, "interrupted");
      case NativeException n when n.code() == NativeException.MEMORY ->
          new Kind(ExitCode.RESOURCES, "memory");
      case NativeException n when n.outOfResources() -> new Kind(ExitCode.RESOURCES, "device");
      default -> new Kind(ExitCode.FAILURE, "failure");
    };
  }

  /**
   * Exceptions of the library speak for themselves; those of the JDK often say no more than a
   * file's name.
   */
  private static String message(Exception e) {
    if (e instanceof CancelledException) {
      return "Interrupted";
    }
    if (e instanceof FileSystemException f) {
      String reason = f.getReason() == null ? f.getClass().getSimpleName() : f.getReason();
      return f.getFile() + ": " + reason;
    }
    boolean plain = e.getMessage() != null && !e.getClass().getName().startsWith("java.");
    boolean spoken = e instanceof IllegalArgumentException || e instanceof IllegalStateException;
    return plain || spoken && e.getMessage() != null ? e.getMessage() : e.toString();
  }

  private int report(Throwable e, Kind kind, String message) {
    String line = String.join(" ", message.strip().lines().map(String::strip).toList());
    console.error("nanomodel: " + line);
    if (console.verbose()) {
      StringWriter trace = new StringWriter();
      e.printStackTrace(new PrintWriter(trace, true));
      console.error(trace.toString().stripTrailing());
    }
    ObjectNode document = new ObjectMapper().createObjectNode();
    document.putObject("error").put("type", kind.type()).put("message", line);
    console.document(document);
    return kind.code();
  }
}
