package org.nanomodel.quantize;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.AdapterWriter;
import org.nanomodel.checkpoint.CheckpointScheme;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.CheckpointWriter.Entry;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Cancel;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;

/**
 * Puts the checkpoint together: the layers' tensors in the places of the float weights, and other
 * tensors that the method changed in those of the source's; all else as there.
 */
final class Assembly {
  private final ModelDirectory source;
  private final CheckpointScheme scheme;
  private final QuantizePlan plan;
  private final JobDirectory job;

  Assembly(ModelDirectory source, CheckpointScheme scheme, QuantizePlan plan, JobDirectory job) {
    this.source = source;
    this.scheme = scheme;
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
      var model = source.configJson();
      if (unties()) {
        model.put("tie_word_embeddings", false);
      }
      var quantization = scheme.describe(model);
      CheckpointWriter.write(
          job.staging(),
          source,
          entries(layers),
          model,
          quantization,
          maxShardBytes,
          cancel::isRaised);
      writeAdapter(layers, model.path("_name_or_path").textValue());
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
    Map<String, SafetensorsFile> replaced = new HashMap<>();
    for (var layer : plan.layers()) {
      var file = SafetensorsFile.open(job.tensors(layer.number()));
      open.add(file);
      for (var module : layer.modules()) {
        modules.put(module.name() + ".weight", module);
        files.put(module.name() + ".weight", file);
      }
      file.tensors().forEach(tensor -> replaced.put(tensor.name(), file));
    }
    var entries = new ArrayList<Entry>();
    for (TensorInfo tensor : source.tensors()) {
      var module = modules.get(tensor.name());
      if (module == null) {
        SafetensorsFile changed = replaced.get(tensor.name());
        entries.add(
            changed == null
                ? Entry.copy(source, tensor)
                : Entry.of(
                    new TensorSpec(tensor.name(), tensor.dtype(), tensor.shape()),
                    () -> changed.segment(tensor.name())));
        continue;
      }
      add(entries, module, files.remove(tensor.name()));
    }
    if (unties() && files.containsKey(head() + ".weight")) {
      add(entries, modules.get(head() + ".weight"), files.get(head() + ".weight"));
    }
    return entries;
  }

  /** After the weights, so that their files are open. */
  private void writeAdapter(List<SafetensorsFile> layers, String base) {
    var modules = new LinkedHashMap<String, SafetensorsFile>();
    for (int i = 0; i < layers.size(); i++) {
      for (var module : plan.layers().get(i).modules()) {
        if (AdapterWriter.isIn(layers.get(i), module.name())) {
          modules.put(module.name(), layers.get(i));
        }
      }
    }
    if (!modules.isEmpty()) {
      var linears = source.config().tree().linears(source.config()).toList();
      AdapterWriter.write(job.staging(), modules, linears, base);
    }
  }

  private static void add(List<Entry> entries, QuantizePlan.Module module, SafetensorsFile file) {
    for (TensorSpec spec : module.tensors()) {
      entries.add(Entry.of(spec, () -> file.segment(spec.name())));
    }
  }

  private String head() {
    return source.config().tree().head();
  }

  /** A head that was tied to the embedding is one of its own now. */
  private boolean unties() {
    return source.config().tiedEmbeddings()
        && plan.modules().stream().anyMatch(m -> m.name().equals(head()));
  }

  private static String log(List<ModuleResult> results) {
    var csv = new StringBuilder("layer,module,loss,samples,damp,time,bits,group_size,fallback\n");
    for (var r : results) {
      csv.append(
          String.format(
              Locale.ROOT,
              "%d,%s,%.10f,%d,%.5f,%.3f,%d,%d,%s%n",
              r.layer(),
              r.name(),
              r.loss(),
              r.samples(),
              r.damp(),
              r.seconds(),
              r.bits(),
              r.groupSize(),
              r.fallback().map(why -> '"' + why.replace("\"", "\"\"") + '"').orElse("")));
    }
    return csv.toString().replace(System.lineSeparator(), "\n");
  }
}
