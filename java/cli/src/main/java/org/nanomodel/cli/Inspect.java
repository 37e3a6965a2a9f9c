package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Arrays;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.checkpoint.QuantizationConfig;
import org.nanomodel.safetensors.TensorInfo;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code inspect}: what a model directory holds, by its headers; no weights are read. */
@Command(
    name = "inspect",
    description = "Shows what a model is, how large, and how it is quantized; reads headers only.",
    footer = "  nanomodel inspect --model stories-qwen3 --tensors")
final class Inspect extends Verb {
  @Mixin private ModelFlag model;

  @Option(names = "--tensors", description = "List all tensors.")
  private boolean tensors;

  @Override
  void run() {
    try (ModelDirectory directory = ModelDirectory.open(model.resolve(environment()))) {
      ModelSize size = ModelSize.of(directory);
      ObjectNode config = directory.configJson();
      String type = config.path("model_type").asText("unknown");
      String architecture = config.path("architectures").path(0).asText("unknown");
      print(directory, size, type, architecture);
      ObjectNode json = object();
      json.put("model_type", type);
      json.put("architecture", architecture);
      json.put("parameters", size.parameters());
      json.put("bytes", size.bytes());
      json.put("bpw", size.bpw());
      json.put("bpw_model", size.bpwModel());
      directory
          .quantization()
          .ifPresentOrElse(
              q -> json.set("quantization", q.json()), () -> json.putNull("quantization"));
      directory
          .quantization()
          .flatMap(QuantizationConfig::unsupported)
          .ifPresent(what -> json.put("unsupported", what));
      json.putNull("adapter");
      AdapterDirectory.find(directory.path()).ifPresent(folder -> adapter(folder, json));
      if (tensors) {
        list(directory, json.putArray("tensors"));
      }
      console().document(json);
    }
  }

  private void print(ModelDirectory directory, ModelSize size, String type, String architecture) {
    console().print("model         %s", directory.path());
    console().print("architecture  %s (%s)", architecture, type);
    console().print("parameters    %,d", size.parameters());
    console()
        .print("size          %.1f MB, %.2f bits per weight", size.bytes() / 1e6, size.bpwModel());
    String quantization =
        directory
            .quantization()
            .map(q -> "%s; %.2f bits per quantized weight".formatted(describe(q), size.bpw()))
            .orElse("none");
    console().print("quantization  %s", quantization);
    console()
        .print(
            "tensors       %d in %d files",
            directory.tensors().size(), directory.weightFiles().size());
    if (tensors) {
      for (TensorInfo tensor : directory.tensors()) {
        console()
            .print(
                "  %-60s %-5s %s", tensor.name(), tensor.dtype(), Arrays.toString(tensor.shape()));
      }
    }
  }

  private void adapter(Path folder, ObjectNode json) {
    try (AdapterDirectory adapter = AdapterDirectory.open(folder)) {
      int modules = adapter.modules().size();
      console()
          .print("adapter       %d modules, %.1f MB in %s", modules, adapter.bytes() / 1e6, folder);
      ObjectNode node = json.putObject("adapter").put("path", folder.toString());
      node.put("modules", modules).put("bytes", adapter.bytes());
    }
  }

  private static String describe(QuantizationConfig q) {
    if (q.unsupported().isPresent()) {
      return q.method() + ", which this version does not read: " + q.unsupported().get();
    }
    ModuleScheme scheme = q.defaults();
    String group = scheme.groupSize() < 0 ? "whole rows" : "groups of " + scheme.groupSize();
    boolean named = q.format().startsWith(q.method());
    boolean floatZeros = q.method().equals("mlx");
    return "%s, %d bits, %s, %s%s%s"
        .formatted(
            named ? q.format() : q.method() + " " + q.format(),
            scheme.bits(),
            group,
            floatZeros ? "zeros as floats" : scheme.sym() ? "symmetric" : "asymmetric",
            scheme.descAct() ? ", desc_act" : "",
            q.dynamic().isEmpty() ? "" : ", with overrides for single modules");
  }

  private static void list(ModelDirectory directory, ArrayNode out) {
    for (TensorInfo tensor : directory.tensors()) {
      ObjectNode node = out.addObject();
      node.put("name", tensor.name());
      node.put("dtype", tensor.dtype().toString());
      ArrayNode shape = node.putArray("shape");
      for (long n : tensor.shape()) {
        shape.add(n);
      }
      node.put("bytes", tensor.byteSize());
    }
  }
}
