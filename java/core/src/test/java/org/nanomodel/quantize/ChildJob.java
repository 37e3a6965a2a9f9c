package org.nanomodel.quantize;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Method;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Engine;

/** A process that quantizes, for tests that kill, watch or starve it. */
public final class ChildJob {
  private ChildJob() {}

  /**
   * Starts one.
   *
   * @param before a command that starts the command behind it; may be empty
   */
  static Process start(List<String> before, Path log, Path model, Path output, Method method)
      throws IOException {
    var command = new ArrayList<String>(before);
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("-XX:-UsePerfData"); // a file of the JVM's own
    command.add("-Dnanomodel.library.path=" + System.getProperty("nanomodel.library.path", ""));
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(
        List.of(ChildJob.class.getName(), model.toString(), output.toString(), method.value()));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(log.toFile())
        .start();
  }

  public static void main(String[] args) {
    try (var engine = Engine.open();
        var source = ModelDirectory.open(Path.of(args[0]), engine)) {
      QuantizeJob.of(source, config(Method.of(args[2])), engine, Path.of(args[1]))
          .calibration(GptqJobTest.calibration(source, 1))
          .overwrite(true)
          .run();
    }
  }

  private static QuantizeConfig config(Method method) {
    var config =
        QuantizeConfig.builder()
            .method(method)
            .groupSize(method == Method.QQQ ? 128 : 32)
            .adapterRank(method == Method.GPTQ ? 4 : 0);
    return method == Method.SMOOTHQUANT ? config.bits(8).groupSize(-1).build() : config.build();
  }
}
