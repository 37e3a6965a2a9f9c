package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;
import org.nanomodel.Format;

/**
 * How the weights of a checkpoint to be written are quantized, and the objects that say so to its
 * readers, each kind of format in its own way.
 *
 * @param defaults what holds for modules that no override names
 * @param lmHead the head is quantized too
 * @param dynamic what differs from the defaults
 * @param meta what readers do not ask for: who wrote it, and how
 */
public record CheckpointScheme(
    Format format,
    ModuleScheme defaults,
    boolean lmHead,
    DynamicOverrides dynamic,
    ObjectNode meta) {

  /**
   * Puts what readers look for into config.json; the same object is to go into
   * quantize_config.json, where the readers of the format look there.
   */
  public Optional<ObjectNode> describe(ObjectNode config) {
    ObjectNode json = json();
    config.set("quantization_config", json);
    return Optional.of(json);
  }

  /**
   * The object of GPTQModel. Round to nearest names the method gptq there, as GPTQModel does: that
   * is how the tensors are read.
   */
  private ObjectNode json() {
    String method = format == Format.GPTQ || format == Format.GPTQ_V2 ? "gptq" : "awq";
    var json = JsonFile.object();
    json.put("bits", defaults.bits());
    if (!dynamic.isEmpty()) {
      json.set("dynamic", dynamic.toJson());
    }
    json.put("group_size", defaults.groupSize());
    json.put("desc_act", defaults.descAct());
    json.put("lm_head", lmHead);
    json.put("method", method);
    json.put("quant_method", method);
    json.put("format", format.value());
    json.put("checkpoint_format", format.value());
    json.put("pack_dtype", "int32");
    json.set("meta", meta);
    if (method.equals("awq")) {
      json.put("zero_point", !defaults.sym());
      json.put("version", format.value());
    }
    json.put("sym", defaults.sym());
    return json;
  }
}
