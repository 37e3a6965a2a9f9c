package org.nanomodel.checkpoint;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.nanomodel.Format;
import org.nanomodel.Version;
import org.nanomodel.json.JsonFile;
import org.nanomodel.safetensors.TensorInfo;

/** What a converted checkpoint says about its quantization, found from its modules. */
final class ConvertedScheme {
  private ConvertedScheme() {}

  static CheckpointScheme of(
      ModelDirectory source, Format to, Map<String, ConvertedModule> modules) {
    Map<String, ModuleScheme> schemes = new LinkedHashMap<>();
    modules.forEach((name, m) -> schemes.put(name, m.scheme()));
    ModuleScheme defaults = mostCommon(schemes);
    List<String> floats = floats(source, schemes);
    var config = source.quantization().orElseThrow();
    var own = config.dynamic();
    boolean holds =
        !own.isEmpty() && schemes.entrySet().stream().allMatch(e -> fits(own, defaults, e));
    var meta = JsonFile.object();
    meta.putArray("quantizer").add(Version.QUANTIZER);
    var from = meta.putObject("converted_from");
    from.put("format", config.format());
    config.quantizers().forEach(from.withArray("quantizer")::add);
    return new CheckpointScheme(
        to,
        defaults,
        schemes.keySet().stream().anyMatch(name -> last(name).equals("lm_head")),
        holds ? own : dynamic(schemes, defaults, floats),
        schemes,
        floats,
        meta);
  }

  private static boolean fits(
      DynamicOverrides dynamic, ModuleScheme defaults, Map.Entry<String, ModuleScheme> module) {
    return dynamic
        .apply(module.getKey(), defaults)
        .filter(s ->
            s.bits() == module.getValue().bits() && s.groupSize() == module.getValue().groupSize())
        .isPresent();
  }

  /** The first of the schemes that most modules have. */
  private static ModuleScheme mostCommon(Map<String, ModuleScheme> schemes) {
    Map<ModuleScheme, Integer> counts = new LinkedHashMap<>();
    schemes.values().forEach(s -> counts.merge(s, 1, Integer::sum));
    ModuleScheme best = null;
    for (var entry : counts.entrySet()) {
      if (best == null || entry.getValue() > counts.get(best)) {
        best = entry.getKey();
      }
    }
    return best;
  }

  /** Matrices that are not quantized though a module of the same name is elsewhere. */
  private static List<String> floats(ModelDirectory source, Map<String, ModuleScheme> schemes) {
    Set<String> names = new HashSet<>();
    schemes.keySet().forEach(name -> names.add(last(name)));
    return source.tensors().stream()
        .filter(t -> t.rank() == 2 && t.name().endsWith(".weight"))
        .map(TensorInfo::name)
        .map(name -> name.substring(0, name.lastIndexOf('.')))
        .filter(name -> !schemes.containsKey(name) && names.contains(last(name)))
        .toList();
  }

  private static DynamicOverrides dynamic(
      Map<String, ModuleScheme> schemes, ModuleScheme defaults, List<String> floats) {
    var json = JsonFile.object();
    floats.forEach(name -> json.putObject("-:" + pattern(name)));
    schemes.forEach((name, s) -> {
      if (!s.equals(defaults)) {
        json.putObject("+:" + pattern(name)).put("bits", s.bits()).put("group_size", s.groupSize());
      }
    });
    return DynamicOverrides.parse(json, "dynamic");
  }

  private static String pattern(String name) {
    return name.replace(".", "\\.") + "$";
  }

  private static String last(String name) {
    return name.substring(name.lastIndexOf('.') + 1);
  }
}
