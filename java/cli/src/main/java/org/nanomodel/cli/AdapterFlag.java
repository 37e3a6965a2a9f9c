package org.nanomodel.cli;

import java.nio.file.Path;
import org.nanomodel.Adapter;
import picocli.CommandLine.Option;

/** {@code --adapter}: what runs on top of a model's weights. */
final class AdapterFlag {
  @Option(
      names = "--adapter",
      paramLabel = "DIR|none",
      description =
          "A LoRA or EoRA adapter to run on top of the weights: a folder with adapter_config.json."
              + " Default: the one in the model's folder, if any; none: the weights alone.")
  private String adapter;

  Adapter get() {
    if (adapter == null) {
      return Adapter.stored();
    }
    return adapter.equals("none") ? Adapter.none() : Adapter.of(Path.of(adapter));
  }
}
