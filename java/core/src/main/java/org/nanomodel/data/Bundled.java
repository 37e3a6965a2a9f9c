package org.nanomodel.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * Models and texts that come with the project, by name: the folder {@code data} of the home
 * directory, which is {@code -Dnanomodel.home}, {@code NANOMODEL_HOME}, or the nearest directory
 * above the working directory that has them.
 */
public final class Bundled {
  private Bundled() {}

  /** The directory of a bundled model. */
  public static Optional<Path> model(String name) {
    return find("models", name, "").filter(Files::isDirectory);
  }

  /** The file of a bundled text. */
  public static Optional<Path> text(String name) {
    return find("texts", name, ".txt").or(() -> find("texts", name, ".jsonl"));
  }

  /** Where a text of this name would be, without the ending; empty for what is no name. */
  public static Optional<Path> placeOf(String name) {
    return name.matches("[A-Za-z][\\w-]*")
        ? Optional.of(data().orElse(Path.of("data")).resolve("texts").resolve(name))
        : Optional.empty();
  }

  /** What {@link #model} knows. */
  public static List<String> modelNames() {
    return names("models", Files::isDirectory);
  }

  /** What {@link #text} knows. */
  public static List<String> textNames() {
    return names("texts", Files::isRegularFile);
  }

  private static Optional<Path> find(String kind, String name, String suffix) {
    if (!name.matches("[\\w-][\\w.-]*")) {
      return Optional.empty(); // a path, not a name
    }
    return data().map(data -> data.resolve(kind).resolve(name + suffix)).filter(Files::exists);
  }

  private static List<String> names(String kind, Predicate<Path> filter) {
    List<String> names = new ArrayList<>();
    data()
        .map(data -> data.resolve(kind).toFile().listFiles())
        .ifPresent(files ->
            Stream.of(files)
                .filter(file -> filter.test(file.toPath()))
                .map(file -> file.getName().replaceFirst("\\.(txt|jsonl)$", ""))
                .sorted()
                .forEach(names::add));
    return names;
  }

  private static Optional<Path> data() {
    String home = System.getProperty("nanomodel.home", System.getenv("NANOMODEL_HOME"));
    if (home != null && !home.isBlank()) {
      return Optional.of(Path.of(home, "data")).filter(Files::isDirectory);
    }
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      if (Files.isDirectory(at.resolve("data/models"))
          && Files.isDirectory(at.resolve("data/texts"))) {
        return Optional.of(at.resolve("data"));
      }
    }
    return Optional.empty();
  }
}
