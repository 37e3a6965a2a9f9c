package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.Ops;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
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

  /** The weight of a module: it stands for the very floats that were packed. */
  public StoredWeight weight(Arena arena, Ops ops, String module) {
    return Codec.of(config).read(arena, ops, stored, config, module);
  }

  /** A tensor of this name, type and shape, borrowed; empty where there is none. */
  public Optional<Tensor> find(TensorSpec spec) {
    var type = DataType.ofName(spec.dtype().name()).orElseThrow();
    return stored.find(spec.name(), List.of(type), spec.shape());
  }

  @Override
  public void close() {
    stored.close();
  }
}
