package org.nanomodel;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Golden data and models that lie beside the repository, in the directory {@code shared}. */
public final class SharedData {
  private SharedData() {}

  /** A file or directory in it; the test is skipped, with a message, where it is absent. */
  public static Path require(String relative) {
    Path path = root().resolveSibling("shared").resolve(relative);
    Assumptions.assumeTrue(Files.exists(path), () -> "skipped: " + path + " is absent");
    return path;
  }

  /** The repository: the directory above the working directory that holds csrc and pom.xml. */
  public static Path root() {
    Path start = Path.of("").toAbsolutePath();
    for (Path at = start; at != null; at = at.getParent()) {
      if (Files.isDirectory(at.resolve("csrc")) && Files.exists(at.resolve("pom.xml"))) {
        return at;
      }
    }
    throw new IllegalStateException("No directory with csrc and pom.xml above " + start);
  }
}
