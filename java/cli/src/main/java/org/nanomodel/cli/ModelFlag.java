package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.Map;
import org.nanomodel.AutoNanoModel;
import picocli.CommandLine.Option;

/**
 * {@code --model}: a directory, a bundled name, or {@code owner/name[@revision]} in the Hugging
 * Face cache.
 */
final class ModelFlag {
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
    return AutoNanoModel.resolve(model, environment);
  }
}
