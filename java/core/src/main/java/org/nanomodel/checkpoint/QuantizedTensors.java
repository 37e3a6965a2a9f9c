package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** Quantized modules in one file that is no whole checkpoint yet, read as its config will say. */
public final class QuantizedTensors implements AutoCloseable {
  private final StoredTensors stored;
  private final QuantizationConfig config;

  private QuantizedTensors(StoredTensors stored, QuantizationConfig config) {
    this.stored = stored;
    this.config = config;
  }

  /**
   * Opens a file.
   *
   * @param model config.json of the source; left as it is
   */
  public static QuantizedTensors open(Path file, CheckpointScheme scheme, ObjectNode model) {
    ObjectNode described = model.deepCopy();
    scheme.describe(described);
    var config = QuantizationConfig.find(file.toAbsolutePath().getParent(), described);
    return new QuantizedTensors(StoredTensors.open(file), config.orElseThrow());
  }

  /** The weight that a module stands for, F32 [N, K]: the very floats that were packed. */
  public Tensor floats(Arena arena, Ops ops, String module) {
    return Codec.of(config).read(arena, ops, stored, config, module).floats(arena, ops);
  }

  @Override
  public void close() {
    stored.close();
  }
}
