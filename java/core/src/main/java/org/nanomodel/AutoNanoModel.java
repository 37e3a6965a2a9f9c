package org.nanomodel;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.data.Bundled;
import org.nanomodel.ops.EngineOptions;

/**
 * Opens whatever a directory holds: a float model or a quantized one, of any architecture that is
 * served. A name without a directory is that of a bundled model, or of one in the Hugging Face
 * cache.
 */
public final class AutoNanoModel {
  private AutoNanoModel() {}

  /** Opens a model to be run, on the engine that {@link EngineOptions#defaults()} describes. */
  public static NanoModel load(Path model) {
    return load(model, EngineOptions.defaults());
  }

  /** As {@link #load(Path)}; what {@link #resolve(String)} finds. */
  public static NanoModel load(String model) {
    return load(resolve(model));
  }

  /** Opens a model to be run on an engine of these options. */
  public static NanoModel load(Path model, EngineOptions options) {
    return load(model, options, Adapter.stored());
  }

  /** The same with another adapter than the one in the model's folder, or without. */
  public static NanoModel load(Path model, EngineOptions options, Adapter adapter) {
    return NanoModel.open(model, Optional.empty(), options, adapter);
  }

  /**
   * Opens a float model to be quantized; no weights are read before {@link NanoModel#quantize()} or
   * a first use.
   */
  public static NanoModel load(Path model, QuantizeConfig config) {
    return load(model, config, EngineOptions.defaults());
  }

  /** As {@link #load(Path, QuantizeConfig)}; what {@link #resolve(String)} finds. */
  public static NanoModel load(String model, QuantizeConfig config) {
    return load(resolve(model), config);
  }

  /** Opens a float model to be quantized on an engine of these options. */
  public static NanoModel load(Path model, QuantizeConfig config, EngineOptions options) {
    return NanoModel.open(model, Optional.of(config), options, Adapter.stored());
  }

  /**
   * The directory that a user means: a path, the name of a bundled model, or {@code
   * owner/name[@revision]} in the Hugging Face cache. Nothing is downloaded.
   */
  public static Path resolve(String model) {
    return resolve(model, System.getenv());
  }

  /** The same with the environment that tells where the Hugging Face cache is. */
  public static Path resolve(String model, Map<String, String> environment) {
    Path path = Path.of(model);
    if (Files.exists(path)) {
      return path;
    }
    return Bundled.model(model)
        .or(() -> HubCache.of(environment).find(model))
        .orElseThrow(() -> new BadModelException(notFound(model, environment)));
  }

  private static String notFound(String model, Map<String, String> environment) {
    String where =
        HubCache.isName(model)
            ? "; looked at " + HubCache.of(environment).lookedAt(model)
            : "; bundled: " + String.join(", ", Bundled.modelNames());
    return "model '"
        + model
        + "' is neither a directory, nor a bundled model, nor in the Hugging Face cache"
        + where
        + "; nothing is downloaded";
  }
}
