package org.nanomodel.cli;

import java.io.PrintStream;
import java.util.Map;
import org.nanomodel.Version;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/**
 * The {@code nanomodel} command: finds the verb, and turns whatever goes wrong into one line and an
 * exit code.
 */
@Command(
    name = "nanomodel",
    description = "Quantize, evaluate and run language models.",
    mixinStandardHelpOptions = true,
    versionProvider = Main.VersionLine.class,
    synopsisSubcommandLabel = "VERB",
    subcommands = {
      Generate.class,
      Chat.class,
      Eval.class,
      Quantize.class,
      SmoothScales.class,
      Convert.class,
      Inspect.class,
      Logits.class,
      Compare.class,
      Bench.class,
      Demo.class,
      Doctor.class
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  nanomodel demo",
      "  nanomodel generate --model stories-qwen3 --prompt \"Once upon a time\"",
      "  nanomodel VERB --help"
    })
public final class Main implements Runnable {
  @Spec private CommandSpec spec;

  private final Console console;
  private final Map<String, String> environment;

  Main(Console console, Map<String, String> environment) {
    this.console = console;
    this.environment = environment;
  }

  /** {@code nanomodel 0.1.0}. */
  static final class VersionLine implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"nanomodel " + Version.NUMBER};
    }
  }

  Console console() {
    return console;
  }

  Map<String, String> environment() {
    return environment;
  }

  /** No verb: help, as an error. */
  @Override
  public void run() {
    throw new CommandLine.ParameterException(
        spec.commandLine(), "No verb given; expected one of " + Verbs.built(spec));
  }

  /** Runs a command line and returns its exit code; nothing is printed but to these two. */
  static int run(String[] args, PrintStream out, PrintStream err, Map<String, String> environment) {
    Console console = new Console(out, err);
    return run(args, console, environment);
  }

  private static int run(String[] args, Console console, Map<String, String> environment) {
    CommandLine commands = new CommandLine(new Main(console, environment));
    commands.setOut(console.outWriter());
    commands.setErr(console.errWriter());
    commands.setCaseInsensitiveEnumValuesAllowed(true);
    commands.setDefaultValueProvider(new EnvironmentTwins(environment));
    Failures failures = new Failures(console, args);
    commands.setParameterExceptionHandler(failures);
    commands.setExecutionExceptionHandler(failures);
    int code = commands.execute(args);
    console.flush();
    return code;
  }

  public static void main(String[] args) {
    Console console = new Console(System.out, System.err);
    Interrupts interrupts = Interrupts.install(console);
    int code = run(args, console, System.getenv());
    interrupts.finished();
    System.exit(code);
  }
}
