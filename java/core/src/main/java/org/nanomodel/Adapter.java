package org.nanomodel;

import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Engine;

/**
 * Which low-rank adapter runs on top of a model's weights: y = W x + scale B (A x). One that EoRA
 * made with a quantized checkpoint, or any LoRA adapter in the files of PEFT.
 */
public final class Adapter {
  private static final Adapter STORED = new Adapter(true, Optional.empty());
  private static final Adapter NONE = new Adapter(false, Optional.empty());

  private final boolean stored;
  private final Optional<Path> folder;

  private Adapter(boolean stored, Optional<Path> folder) {
    this.stored = stored;
    this.folder = folder;
  }

  /** That which lies in the model's own folder, in {@code adapter}; none where there is none. */
  public static Adapter stored() {
    return STORED;
  }

  /** The weights alone, whatever lies beside them. */
  public static Adapter none() {
    return NONE;
  }

  /** That of a folder with adapter_config.json and adapter_model.safetensors. */
  public static Adapter of(Path folder) {
    return new Adapter(false, Optional.of(folder));
  }

  /** The folder of the adapter for a model. */
  Optional<Path> find(Path model) {
    return stored ? AdapterDirectory.find(model) : folder;
  }

  /**
   * A model's graph with its weights and the adapter.
   *
   * @param weights of the directory
   */
  CausalModel load(Engine engine, Config config, Path directory, Weights weights) {
    Optional<Path> found = find(directory);
    if (found.isEmpty()) {
      return CausalModel.load(engine, config, weights);
    }
    try (var adapter = AdapterDirectory.open(found.get())) {
      return CausalModel.load(engine, config, adapter.over(weights, config));
    }
  }
}
