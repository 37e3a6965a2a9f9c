package org.nanomodel.cli;

import java.util.List;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;

/** The verbs that the command knows by name. */
final class Verbs {
  /** Named in the documentation of the command line, but not in this version. */
  static final List<String> LATER =
      List.of("serve", "train", "data", "sweep", "download", "push", "list", "rm");

  private Verbs() {}

  /** The verbs of this version, as one would type them. */
  static String built(CommandSpec spec) {
    return spec.root().subcommands().keySet().stream().collect(Collectors.joining(", "));
  }
}
