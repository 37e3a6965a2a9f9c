package org.nanomodel;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Another JVM on this one's class path, for what a test cannot do to its own. */
public final class ChildJvm {
  private ChildJvm() {}

  /** Not started yet; standard error joins standard output. */
  public static ProcessBuilder of(List<String> options, Class<?> main, String... arguments) {
    var command = new ArrayList<String>();
    if (System.getProperty("os.name").equals("Linux")) {
      // A build in the background of a shell ignores SIGINT, and its children would inherit that.
      command.addAll(List.of("env", "--default-signal=INT"));
    }
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command).redirectErrorStream(true);
  }

  /** The options that give the child the library that this JVM runs with. */
  public static List<String> sameLibrary() {
    return List.of("-Dnanomodel.library.path=" + Version.library());
  }

  /** All that it prints until it ends. */
  public static String output(Process process) throws IOException {
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }
}
