package org.nanomodel.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Engine;
import org.nanomodel.quantize.ActivationScales;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code smooth-scales}: how large the activations of a model get, as a file. */
@Command(
    name = "smooth-scales",
    description =
        "Runs a float model on calibration data and writes the largest |x| of each input channel of"
            + " each linear layer, as safetensors: what quantize --act-scales takes.",
    footer =
        "  nanomodel smooth-scales --model stories-qwen3 --calibration stories-calib --output"
            + " stories-scales.safetensors")
final class SmoothScales extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = {"-o", "--output"},
      required = true,
      paramLabel = "FILE",
      description = "The file to write.")
  private Path output;

  @Option(names = "--overwrite", description = "Replace a file that is there.")
  private boolean overwrite;

  @Mixin private CalibrationFlags calibration;
  @Mixin private EngineFlags engine;

  @Override
  void run() {
    if (Files.exists(output) && !overwrite) {
      throw new UsageException(output + " is there already: --overwrite replaces it");
    }
    try (Engine opened = Engine.open(engine.options());
        ModelDirectory source = ModelDirectory.open(model.resolve(environment()), opened)) {
      var data = calibration.open(console(), "smooth-scales", source);
      Optional<Path> beside = Optional.ofNullable(output.toAbsolutePath().getParent());
      var states = calibration.offload().map(folder -> folder.or(() -> beside).orElseThrow());
      var scales = ActivationScales.collect(source, data, opened.ops(console().cancel()), states);
      scales.write(output);
      console().print("%s: %d modules, %d tokens", output, scales.modules().size(), data.tokens());
      console()
          .document(
              object()
                  .put("model", model.name())
                  .put("output", output.toString())
                  .put("modules", scales.modules().size())
                  .put("tokens", data.tokens()));
    }
  }
}
