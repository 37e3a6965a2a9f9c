package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.Version;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.CheckpointWriter.Entry;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.JsonFile;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Cancel;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;

/**
 * Puts the checkpoint together: the layers' tensors in the places of the float weights, all else as
 * in the source.
 */
final class Assembly {
  private final ModelDirectory source;
  private final QuantizeConfig config;
  private final QuantizePlan plan;
  private final JobDirectory job;

  Assembly(ModelDirectory source, QuantizeConfig config, QuantizePlan plan, JobDirectory job) {
    this.source = source;
    this.config = config;
    this.plan = plan;
    this.job = job;
  }

  void write(
      Fingerprint fingerprint, List<ModuleResult> results, long maxShardBytes, Cancel cancel) {
    var layers = new ArrayList<SafetensorsFile>();
    try {
      DurableFiles.deleteTree(job.staging());
      Files.createDirectories(job.staging());
      FinishedJob.write(job.staging(), fingerprint, results);
      DurableFiles.write(
          job.staging().resolve("quant_log.csv"), log(results).getBytes(StandardCharsets.UTF_8));
      var quantization = quantization();
      var model = source.configJson();
      model.set("quantization_config", quantization);
      CheckpointWriter.write(
          job.staging(),
          source,
          entries(layers),
          model,
          Optional.of(quantization),
          maxShardBytes,
          cancel::isRaised);
    } catch (IOException e) {
      throw DurableFiles.failed("create", job.staging(), e);
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage() + "; restart the job", e);
    } finally {
      layers.forEach(SafetensorsFile::close);
    }
  }

  private List<Entry> entries(List<SafetensorsFile> open) {
    Map<String, QuantizePlan.Module> modules = new HashMap<>();
    Map<String, SafetensorsFile> files = new HashMap<>();
    for (var layer : plan.layers()) {
      var file = SafetensorsFile.open(job.tensors(layer.number()));
      open.add(file);
      for (var module : layer.modules()) {
        modules.put(module.name() + ".weight", module);
        files.put(module.name() + ".weight", file);
      }
    }
    var entries = new ArrayList<Entry>();
    for (TensorInfo tensor : source.tensors()) {
      var module = modules.get(tensor.name());
      if (module == null) {
        entries.add(Entry.copy(source, tensor));
        continue;
      }
      SafetensorsFile file = files.get(tensor.name());
      for (TensorSpec spec : module.tensors()) {
        entries.add(Entry.of(spec, () -> file.segment(spec.name())));
      }
    }
    return entries;
  }

  /**
   * The object of quantize_config.json and config.json. Round to nearest names the method gptq, as
   * GPTQModel does: that is how these tensors are read.
   */
  private ObjectNode quantization() {
    var json = JsonFile.object();
    json.put("bits", config.bits());
    if (!config.dynamic().isEmpty()) {
      json.set("dynamic", config.dynamic().toJson());
    }
    json.put("group_size", config.groupSize());
    json.put("desc_act", config.descAct());
    json.put("lm_head", config.lmHead());
    json.put("method", "gptq");
    json.put("quant_method", "gptq");
    json.put("format", config.format().value());
    json.put("checkpoint_format", config.format().value());
    json.put("pack_dtype", "int32");
    var meta = json.putObject("meta");
    meta.putArray("quantizer").add(Version.QUANTIZER);
    meta.put("algorithm", config.method().value());
    json.put("sym", config.sym());
    return json;
  }

  private static String log(List<ModuleResult> results) {
    var csv = new StringBuilder("layer,module,loss,samples,damp,time,bits,group_size\n");
    for (var r : results) {
      csv.append(
          String.format(
              Locale.ROOT,
              "%d,%s,%.10f,%d,%.5f,%.3f,%d,%d%n",
              r.layer(),
              r.name(),
              r.loss(),
              r.samples(),
              r.damp(),
              r.seconds(),
              r.bits(),
              r.groupSize()));
    }
    return csv.toString().replace(System.lineSeparator(), "\n");
  }
}
