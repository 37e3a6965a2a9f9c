package org.nanomodel.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import org.nanomodel.ops.Engine;
import org.openjdk.jmh.infra.BenchmarkParams;

/**
 * The limits that the measuring processes leave in a file, a line each, for the one that prints.
 */
final class Limits {
  private static final String FILE = "nanomodel.bench.limits";

  private Limits() {}

  /** A line of the file. */
  record Line(double seconds, String by, String tier, int threads) {}

  static String option(Path file) {
    return "-D" + FILE + "=" + file;
  }

  static void record(BenchmarkParams params, Roofs.Limit limit, Engine engine) throws IOException {
    String file = System.getProperty(FILE);
    if (file == null) {
      return; // started by JMH's own main
    }
    var words =
        new String[] {
          params.id(),
          Double.toString(limit.seconds()),
          limit.by(),
          engine.tier(),
          Integer.toString(engine.threads())
        };
    Files.writeString(
        Path.of(file),
        String.join("\t", words) + "\n",
        StandardOpenOption.CREATE,
        StandardOpenOption.APPEND);
  }

  static Map<String, Line> read(Path file) throws IOException {
    var lines = new HashMap<String, Line>();
    for (String line : Files.readAllLines(file)) {
      String[] words = line.split("\t");
      lines.put(
          words[0],
          new Line(Double.parseDouble(words[1]), words[2], words[3], Integer.parseInt(words[4])));
    }
    return lines;
  }
}
