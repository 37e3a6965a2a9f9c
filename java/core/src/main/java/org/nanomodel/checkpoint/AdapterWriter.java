package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.nanomodel.NanoModelException;
import org.nanomodel.json.JsonFile;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;

/**
 * Writes a low-rank adapter into the files of PEFT. Its scale is 1: lora_alpha is the rank, and
 * alpha_pattern says so for modules of another rank.
 */
public final class AdapterWriter {
  private static final String A = ".lora_A.weight";
  private static final String B = ".lora_B.weight";

  private AdapterWriter() {}

  /** A of a module, [rank, K], as a finished layer of a job holds it. */
  public static TensorSpec a(String module, long rank, long k) {
    return new TensorSpec(module + A, DType.F16, new long[] {rank, k});
  }

  /** B of a module, [N, rank]. */
  public static TensorSpec b(String module, long n, long rank) {
    return new TensorSpec(module + B, DType.F16, new long[] {n, rank});
  }

  /** Whether a finished layer holds the adapter of a module. */
  public static boolean isIn(SafetensorsFile layer, String module) {
    return layer.find(module + A).isPresent();
  }

  /**
   * Writes the folder {@code adapter} of a checkpoint that nobody reads yet.
   *
   * @param modules with the file that holds each one's A and B
   * @param linears all linear modules of the model
   * @param base what the model calls itself, or null
   */
  public static void write(
      Path checkpoint, Map<String, SafetensorsFile> modules, List<String> linears, String base) {
    Path folder = checkpoint.resolve(AdapterDirectory.FOLDER);
    var plan = new ArrayList<TensorSpec>();
    var ranks = new LinkedHashMap<String, Long>();
    modules.forEach((module, file) -> {
      var a = file.find(module + A).orElseThrow();
      var b = file.find(module + B).orElseThrow();
      ranks.put(module, a.shape()[0]);
      plan.add(new TensorSpec(AdapterDirectory.PREFIX + a.name(), a.dtype(), a.shape()));
      plan.add(new TensorSpec(AdapterDirectory.PREFIX + b.name(), b.dtype(), b.shape()));
    });
    try {
      Files.createDirectories(folder);
      Path target = folder.resolve(AdapterDirectory.TENSORS);
      try (var writer = SafetensorsWriter.create(target, plan)) {
        modules.forEach((module, file) -> {
          writer.put(AdapterDirectory.PREFIX + module + A, file.segment(module + A));
          writer.put(AdapterDirectory.PREFIX + module + B, file.segment(module + B));
        });
        writer.finish();
      }
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage(), e);
    } catch (IOException e) {
      throw DurableFiles.failed("create", folder, e);
    }
    String config = JsonFile.print(config(ranks, linears, base));
    DurableFiles.write(
        folder.resolve(AdapterDirectory.CONFIG), config.getBytes(StandardCharsets.UTF_8));
  }

  private static ObjectNode config(Map<String, Long> ranks, List<String> linears, String base) {
    long rank = ranks.values().stream().max(Long::compare).orElseThrow();
    var json = JsonFile.object();
    var alphas = json.putObject("alpha_pattern");
    json.put("base_model_name_or_path", base);
    json.put("bias", "none");
    json.put("fan_in_fan_out", false);
    json.put("inference_mode", true);
    json.put("init_lora_weights", true);
    json.put("lora_alpha", rank);
    json.put("lora_dropout", 0.0);
    json.putNull("modules_to_save");
    json.put("peft_type", "LORA");
    json.put("r", rank);
    var pattern = json.putObject("rank_pattern");
    ranks.forEach((module, own) -> {
      if (own != rank) {
        pattern.put(module, own);
        alphas.put(module, own);
      }
    });
    targets(ranks.keySet().stream().toList(), linears)
        .forEach(json.putArray("target_modules")::add);
    json.put("task_type", "CAUSAL_LM");
    json.put("use_dora", false);
    json.put("use_rslora", false);
    return json;
  }

  /** Last names where they name no module without an adapter, as PEFT's users write them. */
  private static List<String> targets(List<String> modules, List<String> linears) {
    var without = new TreeSet<String>();
    linears.stream()
        .filter(l -> !modules.contains(l))
        .map(AdapterWriter::last)
        .forEach(without::add);
    return modules.stream()
        .map(m -> without.contains(last(m)) ? m : last(m))
        .distinct()
        .sorted()
        .toList();
  }

  private static String last(String module) {
    return module.substring(module.lastIndexOf('.') + 1);
  }
}
