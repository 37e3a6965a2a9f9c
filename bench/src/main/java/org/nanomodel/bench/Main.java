package org.nanomodel.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.nanomodel.ops.Engine;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * {@code Main [--quick] OUT [PATTERN]}: runs the benchmarks and writes {@code OUT/jmh.json} (JMH's
 * own format) and {@code OUT/jmh.md}, a table in which each row has its share of the limit that was
 * measured in its process.
 */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws RunnerException, IOException {
    var words = new ArrayList<>(Arrays.asList(args));
    boolean quick = words.remove("--quick");
    Path out = Files.createDirectories(Path.of(words.getFirst()));
    Path limits = Files.createTempFile("limits", ".tsv");
    try {
      var options =
          new OptionsBuilder()
              .include(words.size() > 1 ? words.get(1) : "org.nanomodel.bench")
              .forks(1)
              .jvmArgsAppend(Limits.option(limits))
              .warmupIterations(quick ? 1 : 3)
              .warmupTime(TimeValue.milliseconds(quick ? 200 : 1000))
              .measurementIterations(quick ? 3 : 7)
              .measurementTime(TimeValue.milliseconds(quick ? 200 : 1000))
              .resultFormat(ResultFormatType.JSON)
              .result(out.resolve("jmh.json").toString());
      var results = List.copyOf(new Runner(options.build()).run());
      var found = Files.size(limits) == 0 ? Map.<String, Limits.Line>of() : Limits.read(limits);
      String table = table(results, found);
      Files.writeString(out.resolve("jmh.md"), table);
      Files.writeString(
          out.resolve("limits.json"),
          new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(found) + "\n");
      System.out.println("\n" + table);
    } finally {
      Files.delete(limits);
    }
  }

  private static String table(List<RunResult> results, Map<String, Limits.Line> limits) {
    var cpu = Engine.cpu();
    String machine =
        limits.values().stream()
            .findFirst()
            .map(l -> ", " + l.tier() + ", " + l.threads() + " threads")
            .orElse("");
    var text =
        new StringBuilder(
            "%s, %d cores%s, JDK %s\n\n"
                .formatted(cpu.brand(), cpu.logicalCores(), machine, Runtime.version().toString()));
    text.append("| op | time, us | spread, us | limit, us | held by | share |\n");
    text.append("|---|---:|---:|---:|---|---:|\n");
    for (RunResult result : results) {
      var score = result.getPrimaryResult();
      double least = score.getStatistics().getMin();
      String row = "| %s | %.3f | %.3f-%.3f |";
      text.append(
          row.formatted(
              name(result.getParams()),
              score.getStatistics().getPercentile(50),
              least,
              score.getStatistics().getMax()));
      text.append(
          share(limits.get(result.getParams().id()), score.getStatistics().getPercentile(50)));
    }
    return text.toString();
  }

  private static String share(Limits.Line limit, double micros) {
    if (limit == null) {
      return " | | |\n";
    }
    double least = limit.seconds() * 1e6;
    return " %.3f | %s | %.0f %% |\n".formatted(least, limit.by(), 100 * least / micros);
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
