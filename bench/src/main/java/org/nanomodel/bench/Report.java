package org.nanomodel.bench;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Version;
import org.nanomodel.ops.Engine;

/** The one result of a run: {@code bench.json}, and the same as a table, {@code bench.md}. */
record Report(Machine machine, String revision, String time, boolean quick, List<Row> rows) {

  /** Where it ran. */
  record Machine(
      String cpu, int cores, List<String> features, String os, String jdk, String library) {
    static Machine here() {
      var cpu = Engine.cpu();
      String os = System.getProperty("os.name") + " " + System.getProperty("os.arch");
      return new Machine(
          cpu.brand(),
          cpu.logicalCores(),
          cpu.features(),
          os,
          Runtime.version().toString(),
          Version.NUMBER);
    }
  }

  /**
   * One measured call; seconds.
   *
   * @param by "java": JMH, through the public API; "native": our own loop
   * @param limit the least that its work can take on this machine, measured in the same process; 0
   *     where there is none
   * @param heldBy what sets the limit: a {@link Traffic} or "FMA"
   */
  record Row(
      String name,
      String by,
      String tier,
      int threads,
      double median,
      double least,
      double most,
      double limit,
      String heldBy) {
    @JsonProperty
    double share() {
      return limit / median;
    }
  }

  /** The rows that a native benchmark left, a line each. */
  static List<Row> readNative(Path file) throws IOException {
    var rows = new ArrayList<Row>();
    for (String line : Files.readAllLines(file)) {
      String[] w = line.split("\t");
      rows.add(
          new Row(
              w[0],
              "native",
              w[1],
              Integer.parseInt(w[2]),
              Double.parseDouble(w[3]),
              Double.parseDouble(w[4]),
              Double.parseDouble(w[5]),
              Double.parseDouble(w[6]),
              w[7]));
    }
    return rows;
  }

  void write(Path folder) throws IOException {
    var json = new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(this);
    Files.writeString(folder.resolve("bench.json"), json + "\n");
    Files.writeString(folder.resolve("bench.md"), table());
  }

  String table() {
    var text =
        new StringBuilder(
            "%s, %d cores (%s), %s, JDK %s, revision %s%s\n\n"
                .formatted(
                    machine.cpu,
                    machine.cores,
                    String.join(" ", machine.features),
                    machine.os,
                    machine.jdk,
                    revision,
                    quick ? ", short settings" : ""));
    text.append(
        "| op | by | tier | threads | time, us | spread, us | limit, us | held by | share |\n");
    text.append("|---|---|---|---:|---:|---:|---:|---|---:|\n");
    for (Row r : rows) {
      text.append(
          "| %s | %s | %s | %d | %.3f | %.3f-%.3f |"
              .formatted(
                  r.name, r.by, r.tier, r.threads, r.median * 1e6, r.least * 1e6, r.most * 1e6));
      text.append(
          r.limit == 0
              ? " | | |\n"
              : " %.3f | %s | %.0f %% |\n".formatted(r.limit * 1e6, r.heldBy, 100 * r.share()));
    }
    return text.toString();
  }
}
