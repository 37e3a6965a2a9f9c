package org.nanomodel.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Map;
import java.util.concurrent.Callable;
import org.nanomodel.CancelledException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What all verbs have: the flags of printing, and a console. */
@Command(
    mixinStandardHelpOptions = true,
    versionProvider = Main.VersionLine.class,
    sortOptions = false,
    usageHelpAutoWidth = true,
    footerHeading = "%nExample:%n")
abstract class Verb implements Callable<Integer> {
  @Spec CommandSpec spec;

  @Option(
      names = "--json",
      description = "Standard output is one JSON document; all else goes to standard error.")
  private boolean json;

  @Option(names = "-v", description = "More: stack traces of errors.")
  private boolean verbose;

  @Option(names = "-q", description = "Less: no progress, no remarks.")
  private boolean quiet;

  /** Does the work; an exception becomes one line and an exit code. */
  abstract void run() throws IOException;

  @Override
  public final Integer call() throws IOException {
    console().configure(json, quiet, verbose);
    try {
      run();
    } catch (Error e) {
      return new Failures(console(), new String[0]).handleError(e);
    }
    return console().cancel().isRaised() ? ExitCode.INTERRUPTED : ExitCode.DONE;
  }

  Console console() {
    return main().console();
  }

  Map<String, String> environment() {
    return main().environment();
  }

  private Main main() {
    return (Main) spec.root().userObject();
  }

  /** Ends the verb where it was interrupted and has nothing to show. */
  void checkNotInterrupted() {
    if (console().cancel().isRaised()) {
      throw new CancelledException("Interrupted");
    }
  }

  static ObjectNode object() {
    return new ObjectMapper().createObjectNode();
  }
}
