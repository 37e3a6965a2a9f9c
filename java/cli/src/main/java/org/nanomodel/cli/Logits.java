package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code logits}: what a model says of every position, as numbers: for comparison with other
 * programs.
 */
@Command(
    name = "logits",
    description = "Writes the logits of every position as F32 [T, V] into a .safetensors file.",
    footer =
        "  nanomodel logits --model stories-qwen3 --input-ids 417,433,258,391 --output"
            + " logits.safetensors")
final class Logits extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = "--input-ids",
      paramLabel = "1,2,3",
      split = ",",
      description = "Token ids; written as the tensor logits.")
  private List<Integer> inputIds;

  @Mixin private DataFlags data;

  @Option(
      names = {"-o", "--output"},
      required = true,
      paramLabel = "FILE",
      description = "The file to write. With --data it has logits.0, logits.1, ...")
  private Path output;

  @Mixin private AdapterFlag adapter;
  @Mixin private EngineFlags engine;

  @Override
  void run() {
    if ((inputIds == null) == !data.given()) {
      throw new UsageException("Give one of --input-ids and --data");
    }
    try (NanoModel loaded =
        AutoNanoModel.load(model.resolve(environment()), engine.options(), adapter.get())) {
      List<int[]> rows = rows(loaded);
      List<TensorSpec> plan = new ArrayList<>();
      for (int i = 0; i < rows.size(); i++) {
        long[] shape = {rows.get(i).length, loaded.config().vocabSize()};
        plan.add(new TensorSpec(inputIds != null ? "logits" : "logits." + i, DType.F32, shape));
      }
      try (SafetensorsWriter writer = SafetensorsWriter.create(output, plan)) {
        for (int i = 0; i < rows.size(); i++) {
          checkNotInterrupted();
          writer.put(plan.get(i).name(), loaded.logits(rows.get(i)).segment());
          console().progress("%d of %d rows", i + 1, rows.size());
        }
        writer.finish();
      }
      console()
          .print(
              "%s: %d %s of logits, F32 [T, %d]",
              output, plan.size(), plan.size() == 1 ? "row" : "rows", loaded.config().vocabSize());
      console().document(json(plan));
    }
  }

  private List<int[]> rows(NanoModel loaded) {
    List<int[]> rows =
        inputIds != null
            ? List.of(inputIds.stream().mapToInt(Integer::intValue).toArray())
            : data.open().rows(loaded.tokenizer(), loaded.config().maxPositions());
    int context = loaded.config().maxPositions();
    for (int[] row : rows) {
      if (row.length > context) {
        throw new UsageException(
            "A row has "
                + row.length
                + " tokens; the model's context is "
                + context
                + " (--seq-len cuts)");
      }
    }
    return rows;
  }

  private ObjectNode json(List<TensorSpec> plan) {
    ObjectNode json = object().put("output", output.toString());
    ArrayNode tensors = json.putArray("tensors");
    for (TensorSpec spec : plan) {
      ObjectNode tensor = tensors.addObject().put("name", spec.name()).put("dtype", "F32");
      ArrayNode shape = tensor.putArray("shape");
      for (long n : spec.shape()) {
        shape.add(n);
      }
    }
    return json;
  }
}
