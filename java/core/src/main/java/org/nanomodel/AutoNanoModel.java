package org.nanomodel;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.data.Bundled;
import org.nanomodel.ops.EngineOptions;

/**
 * Opens whatever a directory holds: a float model or a quantized one, of any architecture that is
 * served. A name without a directory is that of a bundled model.
 */
public final class AutoNanoModel {
  private AutoNanoModel() {}

  /** Opens a model to be run, on the engine that {@link EngineOptions#defaults()} describes. */
  public static NanoModel load(Path model) {
    return load(model, EngineOptions.defaults());
  }

  /** As {@link #load(Path)}; a directory, or the name of a bundled model. */
  public static NanoModel load(String model) {
    return load(resolve(model));
  }

  /** Opens a model to be run on an engine of these options. */
  public static NanoModel load(Path model, EngineOptions options) {
    return NanoModel.open(model, Optional.empty(), options);
  }

  /**
   * Opens a float model to be quantized; no weights are read before {@link NanoModel#quantize()} or
   * a first use.
   */
  public static NanoModel load(Path model, QuantizeConfig config) {
    return load(model, config, EngineOptions.defaults());
  }

  /** As {@link #load(Path, QuantizeConfig)}; a directory, or the name of a bundled model. */
  public static NanoModel load(String model, QuantizeConfig config) {
    return load(resolve(model), config);
  }

  /** Opens a float model to be quantized on an engine of these options. */
  public static NanoModel load(Path model, QuantizeConfig config, EngineOptions options) {
    return NanoModel.open(model, Optional.of(config), options);
  }

  /** The directory that a user means: a path, or the name of a bundled model. */
  public static Path resolve(String model) {
    Path path = Path.of(model);
    if (Files.exists(path)) {
      return path;
    }
    return Bundled.model(model)
        .orElseThrow(() ->
            new BadModelException(
                "model '"
                    + model
                    + "' is neither a directory nor a bundled model; bundled: "
                    + String.join(", ", Bundled.modelNames())));
  }
}
