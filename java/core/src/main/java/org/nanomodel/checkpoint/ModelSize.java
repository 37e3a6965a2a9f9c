package org.nanomodel.checkpoint;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.safetensors.TensorInfo;

/**
 * What a checkpoint weighs, by its headers; also one that this version cannot decode.
 *
 * @param parameters weights of the model, each integer weight counted as one; scales, zeros and
 *     g_idx are none
 * @param bytes of all tensors
 * @param quantizedParameters those that are held as integers
 * @param quantizedBytes of the integers with their scales, zeros and g_idx
 */
public record ModelSize(
    long parameters, long bytes, long quantizedParameters, long quantizedBytes) {

  public static ModelSize of(ModelDirectory model) {
    var modules = new LinkedHashMap<String, Map<String, TensorInfo>>();
    for (TensorInfo tensor : model.tensors()) {
      int dot = tensor.name().lastIndexOf('.');
      modules
          .computeIfAbsent(tensor.name().substring(0, Math.max(0, dot)), m -> new LinkedHashMap<>())
          .put(tensor.name().substring(dot + 1), tensor);
    }
    long parameters = 0;
    long bytes = 0;
    long integers = 0;
    long integerBytes = 0;
    for (var module : modules.entrySet()) {
      Optional<TensorInfo> codes = codes(module.getValue());
      for (var part : module.getValue().entrySet()) {
        bytes += part.getValue().byteSize();
        if (codes.isPresent() && !part.getKey().equals("bias")) {
          integerBytes += part.getValue().byteSize();
        } else {
          parameters += part.getValue().elements();
        }
      }
      integers += codes.map(c -> weights(model, module.getKey(), c)).orElse(0L);
    }
    return new ModelSize(parameters + integers, bytes, integers, integerBytes);
  }

  /** The tensor that holds a module's integers, in any layout known by name; empty for floats. */
  private static Optional<TensorInfo> codes(Map<String, TensorInfo> parts) {
    for (String name : new String[] {"qweight", "weight_packed"}) {
      if (parts.containsKey(name)) {
        return Optional.of(parts.get(name));
      }
    }
    if (parts.containsKey("B") && (parts.containsKey("s") || parts.containsKey("s_channel"))) {
      return Optional.of(parts.get("B")); // marlin, qqq
    }
    boolean scaled =
        parts.containsKey("scales") // mlx
            || parts.containsKey("weight_scale")
            || parts.containsKey("weight_scale_inv");
    return Optional.ofNullable(parts.get("weight")).filter(weight -> scaled);
  }

  /** N * K; of a layout that this version cannot decode, what its words can hold. */
  private static long weights(ModelDirectory model, String module, TensorInfo codes) {
    var config = model.quantization();
    boolean decoded = config.isPresent() && config.get().unsupported().isEmpty();
    boolean shapeInData = codes.name().endsWith(".weight_packed"); // only headers are read here
    if (decoded && !shapeInData && model.isQuantized(module) && codes.rank() == 2) {
      return Math.multiplyExact(model.rows(module), model.columns(module));
    }
    if (codes.name().endsWith(".weight") && !codes.dtype().name().equals("U32")) {
      return codes.elements(); // one element a weight: int8, float8
    }
    int bits =
        decoded
            ? config.get().scheme(module).map(ModuleScheme::bits).orElse(0)
            : config.map(q -> q.storedBits(module)).orElse(0);
    return codes.byteSize() * 8 / (bits < 1 ? codes.dtype().bits() : bits);
  }

  /**
   * Bits per weight over the integer weights, with their scales, zeros and g_idx; of a float model,
   * over all.
   */
  public double bpw() {
    return quantizedParameters == 0 ? bpwModel() : 8.0 * quantizedBytes / quantizedParameters;
  }

  /** Bits per weight over the whole model, embeddings and norms included. */
  public double bpwModel() {
    return parameters == 0 ? 0 : 8.0 * bytes / parameters;
  }
}
