package org.nanomodel.checkpoint;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.nanomodel.safetensors.TensorInfo;

/**
 * What a checkpoint weighs, by its headers.
 *
 * @param parameters weights of the model, each integer weight counted as one; scales, zeros and
 *     g_idx are none
 * @param bytes of all tensors
 * @param quantizedParameters those that are held as integers
 * @param quantizedBytes of qweight, qzeros, scales and g_idx
 */
public record ModelSize(
    long parameters, long bytes, long quantizedParameters, long quantizedBytes) {
  private static final List<String> PARTS = List.of("qweight", "qzeros", "scales", "g_idx");

  public static ModelSize of(ModelDirectory model) {
    Set<String> quantized = new HashSet<>(model.quantizedModules());
    long parameters = 0;
    long bytes = 0;
    long integers = 0;
    long integerBytes = 0;
    for (TensorInfo tensor : model.tensors()) {
      bytes += tensor.byteSize();
      int dot = tensor.name().lastIndexOf('.');
      String part = tensor.name().substring(dot + 1);
      if (dot < 0
          || !PARTS.contains(part)
          || !quantized.contains(tensor.name().substring(0, dot))) {
        parameters += tensor.elements();
        continue;
      }
      integerBytes += tensor.byteSize();
      if (part.equals("qweight")) {
        integers += packed(model, tensor.name().substring(0, dot), tensor);
      }
    }
    return new ModelSize(parameters + integers, bytes, integers, integerBytes);
  }

  /** N * K; of a format that this version cannot decode, what its words can hold. */
  private static long packed(ModelDirectory model, String module, TensorInfo qweight) {
    var config = model.quantization();
    if (config.isPresent() && config.get().unsupported().isEmpty() && qweight.rank() == 2) {
      return qweight.dim(1) * model.columns(module);
    }
    var json = config.map(QuantizationConfig::json).orElseGet(JsonFile::object);
    int bits = json.path("bits").asInt(json.path("w_bit").asInt(qweight.dtype().bits()));
    return qweight.byteSize() * 8 / Math.max(1, bits);
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
