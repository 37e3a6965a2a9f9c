package org.nanomodel.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.BadModelException;
import picocli.CommandLine.Option;

/**
 * {@code --model}: a directory, a bundled name, or {@code owner/name[@revision]} in the Hugging
 * Face cache.
 */
final class ModelFlag {
  private static final Pattern HUB = Pattern.compile("([\\w.-]+)/([\\w.-]+?)(?:@([\\w.-]+))?");

  @Option(
      names = {"-m", "--model"},
      required = true,
      paramLabel = "MODEL",
      description =
          "A directory, a bundled model (stories-qwen3), or owner/name[@revision] from the Hugging"
              + " Face cache.")
  private String model;

  /** As it was typed. */
  String name() {
    return model;
  }

  Path resolve(Map<String, String> environment) {
    return resolve(model, environment);
  }

  /** The directory of a model that is named as for this flag. */
  static Path resolve(String model, Map<String, String> environment) {
    Matcher hub = HUB.matcher(model);
    if (!Files.exists(Path.of(model)) && hub.matches()) {
      return cached(hub.group(1), hub.group(2), hub.group(3), environment)
          .orElseThrow(() ->
              new BadModelException(
                  "model '%s' is neither a directory nor in the Hugging Face cache (%s); this version does not download"
                      .formatted(model, cache(environment))));
    }
    return AutoNanoModel.resolve(model);
  }

  private static Optional<Path> cached(
      String owner, String name, String revision, Map<String, String> environment) {
    Path folder = cache(environment).resolve("models--" + owner + "--" + name);
    String wanted = revision == null ? "main" : revision;
    Path ref = folder.resolve("refs").resolve(wanted);
    try {
      String commit = Files.isRegularFile(ref) ? Files.readString(ref).strip() : wanted;
      return Optional.of(folder.resolve("snapshots").resolve(commit)).filter(Files::isDirectory);
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static Path cache(Map<String, String> environment) {
    String hub = environment.get("HF_HUB_CACHE");
    if (hub != null && !hub.isBlank()) {
      return Path.of(hub);
    }
    String home = environment.get("HF_HOME");
    Path base =
        home == null || home.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache", "huggingface")
            : Path.of(home);
    return base.resolve("hub");
  }
}
