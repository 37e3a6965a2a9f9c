package org.nanomodel.cli;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.evaluate.Throughput;
import org.nanomodel.ops.EngineOptions;

/**
 * Speeds of several models, turn by turn: each is timed once a round, and the median of the rounds
 * counts, so that a disturbance of the machine neither falls on one model alone nor decides. Models
 * that do not fit into memory together are timed one after another.
 */
final class Speeds {
  private static final int ROUNDS = 5;
  private static final int PREFILL_TOKENS = 256;
  private static final int DECODE_TOKENS = 64;
  private static final long SEED = 42;

  /** Medians. */
  record Speed(double prefillMs, double prefillTps, double decodeTps) {}

  private final List<Path> paths;
  private final EngineOptions options;
  private final Console console;

  Speeds(List<Path> paths, EngineOptions options, Console console) {
    this.paths = paths;
    this.options = options;
    this.console = console;
  }

  List<Speed> measure() {
    if (fitTogether()) {
      return measure(paths);
    }
    console.note("the models do not fit into memory together: they are timed one after another");
    List<Speed> all = new ArrayList<>();
    paths.forEach(path -> all.addAll(measure(List.of(path))));
    return all;
  }

  /** Half of the machine's memory holds them: files are a fair measure of models in memory. */
  private boolean fitTogether() {
    long bytes = 0;
    for (Path path : paths) {
      try (var files = Files.list(path)) {
        bytes += files.filter(Files::isRegularFile).mapToLong(Speeds::size).sum();
      } catch (IOException e) {
        return false;
      }
    }
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        && bytes < system.getTotalMemorySize() / 2;
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      return Long.MAX_VALUE / 1024;
    }
  }

  /** The two tests of a model, and their runs so far. */
  private static final class Runner implements AutoCloseable {
    final NanoModel model;
    final int prompt;
    final Throughput prefill;
    final Throughput decode;
    final double[] prefillSeconds = new double[ROUNDS];
    final double[] decodeTps = new double[ROUNDS];

    Runner(Path path, EngineOptions options, Console console) {
      model = AutoNanoModel.load(path, options);
      int context = model.config().maxPositions();
      prompt = Math.min(PREFILL_TOKENS, context);
      int generated = Math.min(DECODE_TOKENS, context);
      prefill =
          new Throughput(model.graph(), new Throughput.Test(prompt, 0, 0), SEED, console.cancel());
      decode =
          new Throughput(
              model.graph(), new Throughput.Test(0, generated, 0), SEED, console.cancel());
      prefill.warmUp();
      decode.warmUp();
    }

    Speed speed() {
      double seconds = Throughput.median(prefillSeconds);
      return new Speed(1e3 * seconds, prompt / seconds, Throughput.median(decodeTps));
    }

    @Override
    public void close() {
      prefill.close();
      decode.close();
      model.close();
    }
  }

  private List<Speed> measure(List<Path> together) {
    List<Runner> runners = new ArrayList<>();
    try {
      together.forEach(path -> runners.add(new Runner(path, options, console)));
      for (int round = 0; round < ROUNDS; round++) {
        console.progress("speeds: round %d of %d", round + 1, ROUNDS);
        for (int i = 0; i < runners.size(); i++) {
          Runner runner = runners.get((i + round) % runners.size());
          runner.prefillSeconds[round] = runner.prefill.seconds();
          runner.decodeTps[round] = runner.decode.tokensPerSecond();
        }
      }
      return runners.stream().map(Runner::speed).toList();
    } finally {
      runners.forEach(Runner::close);
    }
  }
}
