package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.json.JsonFile;

/**
 * How the weights of a checkpoint to be written are quantized, and the objects that say so to its
 * readers, each kind of format in its own way.
 *
 * @param defaults what holds for modules that no override names
 * @param lmHead the head is quantized too
 * @param dynamic what differs from the defaults, as regular expressions
 * @param modules the quantized modules and their schemes, all of them
 * @param floats linear modules that stay in float
 * @param meta what readers do not ask for: who wrote it, and how
 */
public record CheckpointScheme(
    Format format,
    ModuleScheme defaults,
    boolean lmHead,
    DynamicOverrides dynamic,
    Map<String, ModuleScheme> modules,
    List<String> floats,
    ObjectNode meta) {

  /**
   * Puts what readers look for into config.json; returned is the object for quantize_config.json,
   * where readers of the format look there.
   */
  public Optional<ObjectNode> describe(ObjectNode config) {
    return switch (format) {
      case COMPRESSED_TENSORS, INT_QUANTIZED -> {
        config.set("quantization_config", compressed());
        yield Optional.empty();
      }
      case MLX -> {
        config.set("quantization", mlx());
        config.set("quantization_config", mlx());
        yield Optional.empty();
      }
      default -> {
        ObjectNode json = gptqModel();
        config.set("quantization_config", json);
        yield Optional.of(json);
      }
    };
  }

  /**
   * The object of GPTQModel. Round to nearest names the method gptq there, as GPTQModel does: that
   * is how the tensors are read.
   */
  private ObjectNode gptqModel() {
    String method =
        switch (format) {
          case GEMM, GEMV, GEMV_FAST -> "awq";
          case QQQ -> "qqq";
          default -> "gptq";
        };
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
      if (!floats.isEmpty()) {
        floats.forEach(json.putArray("modules_to_not_convert")::add);
      }
    }
    if (format == Format.MARLIN) {
      json.put("is_marlin_format", true);
    }
    json.put("sym", defaults.sym());
    return json;
  }

  private ObjectNode mlx() {
    var json = JsonFile.object();
    json.put("group_size", defaults.groupSize());
    json.put("bits", defaults.bits());
    json.put("mode", "affine");
    modules.forEach((name, scheme) -> {
      if (scheme.bits() != defaults.bits() || scheme.groupSize() != defaults.groupSize()) {
        var own = json.putObject(name);
        own.put("group_size", scheme.groupSize());
        own.put("bits", scheme.bits());
        own.put("mode", "affine");
      }
    });
    return json;
  }

  private ObjectNode compressed() {
    boolean packed = format == Format.COMPRESSED_TENSORS;
    String kind = packed ? "pack-quantized" : "int-quantized";
    var json = JsonFile.object();
    var groups = json.putObject("config_groups");
    var bySchemes = new LinkedHashMap<ModuleScheme, List<String>>();
    bySchemes.put(defaults, new ArrayList<>());
    modules.forEach((name, s) -> bySchemes.computeIfAbsent(s, x -> new ArrayList<>()).add(name));
    int number = 0;
    for (var entry : bySchemes.entrySet()) {
      if (entry.getValue().isEmpty()) {
        continue;
      }
      var group = groups.putObject("group_" + number++);
      group.put("format", kind);
      group.set("input_activations", packed ? null : activations());
      group.putNull("output_activations");
      var targets = group.putArray("targets");
      if (entry.getKey().equals(defaults)) {
        targets.add("Linear");
      } else {
        entry.getValue().forEach(targets::add);
      }
      group.set("weights", weights(entry.getKey()));
    }
    json.put("format", kind);
    var ignore = json.putArray("ignore");
    if (!lmHead && !floats.contains("lm_head")) {
      ignore.add("lm_head");
    }
    floats.forEach(ignore::add);
    json.putNull("kv_cache_scheme");
    json.put("quant_method", "compressed-tensors");
    json.put("quantization_status", "compressed"); // no meta: readers refuse keys they do not know
    return json;
  }

  private static ObjectNode weights(ModuleScheme scheme) {
    boolean rows = scheme.groupSize() < 0;
    var json = JsonFile.object();
    json.put("actorder", scheme.descAct() ? "group" : null);
    json.put("dynamic", false);
    json.put("group_size", rows ? null : scheme.groupSize());
    json.put("num_bits", scheme.bits());
    json.put("strategy", rows ? "channel" : "group");
    json.put("symmetric", scheme.sym());
    json.put("type", "int");
    return json;
  }

  /** Of W8A8: int8, a scale a token, taken as they come. */
  private static ObjectNode activations() {
    var json = JsonFile.object();
    json.put("dynamic", true);
    json.putNull("group_size");
    json.put("num_bits", 8);
    json.put("strategy", "token");
    json.put("symmetric", true);
    json.put("type", "int");
    return json;
  }
}
