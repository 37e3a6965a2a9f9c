package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.ConversionResult;
import org.nanomodel.checkpoint.FloatConversion;
import org.nanomodel.checkpoint.FormatConversion;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Engine;
import org.nanomodel.tensor.DataType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code convert}: a checkpoint in another format, or as plain floats. */
@Command(
    name = "convert",
    description = {
      "Writes a quantized model in another format, without loss, or as plain floats: quantized"
          + " weights become what they stand for, exactly in float32.",
      "A format that cannot hold the model as it is is refused, with the reason."
    },
    footer = {
      "  nanomodel convert --model stories-4bit --format compressed-tensors --output stories-ct",
      "  nanomodel convert --model stories-4bit --format float32 --output stories-f32"
    })
final class Convert extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = "--format",
      required = true,
      paramLabel = "NAME",
      description =
          "gptq, gptq_v2, marlin, gemm, gemv, gemv_fast, qqq, compressed-tensors, int-quantized, mlx;"
              + " float32, float16 or bfloat16.")
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
    Optional<DataType> floats = floats();
    Optional<Format> to = floats.isPresent() ? Optional.empty() : Optional.of(format());
    try (Engine opened = Engine.open(engine.options());
        ModelDirectory source = ModelDirectory.open(model.resolve(environment()), opened)) {
      long shard = shards.bytes(CheckpointWriter.DEFAULT_SHARD_BYTES);
      BooleanSupplier cancelled = console().cancel()::isRaised;
      ConversionResult result =
          to.isPresent()
              ? FormatConversion.convert(
                  source, opened, to.get(), output, shard, overwrite, cancelled)
              : FloatConversion.convert(
                  source, opened, floats.get(), output, shard, overwrite, cancelled);
      result.warnings().forEach(warning -> console().note("warning: %s", warning));
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

  private Optional<DataType> floats() {
    return switch (format) {
      case "float32", "f32" -> Optional.of(DataType.F32);
      case "float16", "f16" -> Optional.of(DataType.F16);
      case "bfloat16", "bf16" -> Optional.of(DataType.BF16);
      default -> Optional.empty();
    };
  }

  private Format format() {
    try {
      return Format.of(format);
    } catch (NanoModelException e) {
      throw new UsageException(
          "--format "
              + format
              + ": expected float32, float16, bfloat16, or one of "
              + Format.names());
    }
  }
}
