package org.nanomodel.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * {@code Main [--quick] OUT ROWS REVISION [PATTERN]}: runs the benchmarks and writes {@link Report}
 * to the folder OUT, together with the ROWS that the native benchmarks left in a file.
 */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws RunnerException, IOException {
    var words = new ArrayList<>(Arrays.asList(args));
    boolean quick = words.remove("--quick");
    Path out = Files.createDirectories(Path.of(words.getFirst()));
    var rows = new ArrayList<>(Report.readNative(Path.of(words.get(1))));
    rows.addAll(measure(quick, words.size() > 3 ? "(?i)" + words.get(3) : "org.nanomodel.bench"));
    var report =
        new Report(Report.Machine.here(), words.get(2), Instant.now().toString(), quick, rows);
    report.write(out);
    System.out.println("\n" + report.table());
  }

  private static List<Report.Row> measure(boolean quick, String pattern)
      throws RunnerException, IOException {
    Path limits = Files.createTempFile("limits", ".tsv");
    try {
      var options =
          new OptionsBuilder()
              .include(pattern)
              .forks(1)
              .jvmArgsAppend(Limits.option(limits))
              .warmupIterations(quick ? 1 : 3)
              .warmupTime(TimeValue.milliseconds(quick ? 200 : 1000))
              .measurementIterations(quick ? 3 : 7)
              .measurementTime(TimeValue.milliseconds(quick ? 200 : 1000));
      Collection<RunResult> results = new Runner(options.build()).run();
      Map<String, Limits.Line> found = Limits.read(limits);
      return results.stream().map(r -> row(r, found.get(r.getParams().id()))).toList();
    } finally {
      Files.delete(limits);
    }
  }

  private static Report.Row row(RunResult result, Limits.Line limit) {
    var micros = result.getPrimaryResult().getStatistics();
    return new Report.Row(
        name(result.getParams()),
        "java",
        limit == null ? "" : limit.tier(),
        limit == null ? 1 : limit.threads(),
        micros.getPercentile(50) * 1e-6,
        micros.getMin() * 1e-6,
        micros.getMax() * 1e-6,
        limit == null ? 0 : limit.seconds(),
        limit == null ? "" : limit.by());
  }

  /** {@code linear i4, m 16}. */
  private static String name(BenchmarkParams params) {
    String[] path = params.getBenchmark().split("\\.");
    String group = path[path.length - 2].replace("Benchmark", "").toLowerCase(Locale.ROOT);
    String op = path[path.length - 1];
    String values =
        params.getParamsKeys().stream()
            .map(key -> key + " " + params.getParam(key))
            .collect(Collectors.joining(", "));
    return (group.equals("call") ? "call, " + op : op) + (values.isEmpty() ? "" : ", " + values);
  }
}
