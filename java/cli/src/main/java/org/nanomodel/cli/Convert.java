package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.Arrays;
import org.nanomodel.Format;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.FloatConversion;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Engine;
import org.nanomodel.tensor.DataType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code convert}: a checkpoint as plain floats. */
@Command(
    name = "convert",
    description =
        "Writes a model as plain floats: quantized weights become what they stand for, exactly in"
            + " float32.",
    footer = "  nanomodel convert --model stories-4bit --format float32 --output stories-f32")
final class Convert extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = "--format",
      required = true,
      paramLabel = "TYPE",
      description = "float32, float16 or bfloat16.")
  private String format;

  @Option(
      names = {"-o", "--output"},
      required = true,
      paramLabel = "DIR",
      description = "A new directory.")
  private Path output;

  @Option(names = "--overwrite", description = "Replace a model that is there.")
  private boolean overwrite;

  @Mixin private ShardFlag shards;
  @Mixin private EngineFlags engine;

  @Override
  void run() {
    DataType to = type();
    try (Engine opened = Engine.open(engine.options());
        ModelDirectory source = ModelDirectory.open(model.resolve(environment()), opened)) {
      FloatConversion.Result result =
          FloatConversion.convert(
              source,
              opened,
              to,
              output,
              shards.bytes(CheckpointWriter.DEFAULT_SHARD_BYTES),
              overwrite,
              console().cancel()::isRaised);
      console()
          .print(
              "%s: %s to %s, %.1f MB, %s",
              output,
              result.from(),
              result.to(),
              result.bytes() / 1e6,
              result.lossless() ? "lossless" : "rounded");
      console()
          .document(
              object()
                  .put("from", result.from())
                  .put("to", result.to())
                  .put("bytes", result.bytes())
                  .put("lossless", result.lossless())
                  .put("output", output.toString()));
    }
  }

  private DataType type() {
    return switch (format) {
      case "float32", "f32" -> DataType.F32;
      case "float16", "f16" -> DataType.F16;
      case "bfloat16", "bf16" -> DataType.BF16;
      default -> {
        boolean known =
            Arrays.stream(Format.values()).anyMatch(f -> f.value().equalsIgnoreCase(format));
        throw new UsageException(
            known
                ? "--format "
                    + format
                    + ": this version converts to float32, float16 and bfloat16; nanomodel quantize"
                    + " writes quantized formats"
                : "--format " + format + ": expected float32, float16 or bfloat16");
      }
    };
  }
}
