package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.Backend;
import org.nanomodel.Device;
import org.nanomodel.NanoModel;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.evaluate.MarkdownTable;
import org.nanomodel.evaluate.Throughput;
import org.nanomodel.ops.EngineOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code bench}: tokens per second, with the flags and columns of llama-bench. */
@Command(
    name = "bench",
    description =
        "Measures tokens per second: reading a prompt (pp) and writing a text (tg). Tokenizing and"
            + " sampling are not part of it.",
    footer = {
      "  nanomodel bench --model stories-qwen3 -p 128 -n 32",
      "  nanomodel bench --model stories-qwen3 -p 64,256 -n 32 -d 0,128 -t 1-2 -o csv"
    })
final class Bench extends Verb {
  private static final List<String> FORMATS = List.of("md", "json", "jsonl", "csv");
  private static final String[] COLUMNS = {
    "model", "size", "params", "backend", "tier", "threads", "test", "t/s", "min", "max"
  };

  @Option(
      names = {"-m", "--model"},
      required = true,
      split = ",",
      paramLabel = "MODEL",
      description = "One or more models, as in other verbs.")
  private List<String> models;

  @Option(
      names = {"-p", "--n-prompt"},
      paramLabel = "N,...",
      defaultValue = "512",
      description = "Tokens of a prompt; 0 = none. Default: ${DEFAULT-VALUE}.")
  private String prompts;

  @Option(
      names = {"-n", "--n-gen"},
      paramLabel = "N,...",
      defaultValue = "128",
      description = "Tokens to write, one a step; 0 = none. Default: ${DEFAULT-VALUE}.")
  private String generated;

  @Option(
      names = "-pg",
      paramLabel = "P,N",
      description = "A prompt and then a text, timed together. May be given several times.")
  private List<String> both = List.of();

  @Option(
      names = {"-d", "--n-depth"},
      paramLabel = "N,...",
      defaultValue = "0",
      description = "Tokens in the cache before; not timed. Default: ${DEFAULT-VALUE}.")
  private String depths;

  @Option(
      names = {"-r", "--repetitions"},
      paramLabel = "N",
      defaultValue = "5",
      description = "Runs of each test, after a warm-up. Default: ${DEFAULT-VALUE}.")
  private int repetitions;

  @Option(
      names = {"-t", "--threads"},
      paramLabel = "N,...",
      defaultValue = "0",
      description = "Workers on the CPU; 0 = all cores. Default: ${DEFAULT-VALUE}.")
  private String threads;

  @Option(
      names = "--tier",
      split = ",",
      paramLabel = "NAME,...",
      description = "Kernels: reference, avx2, avx512. Default: the best that runs here.")
  private List<String> tiers = List.of();

  @Option(names = "--device", paramLabel = "auto|cpu|cuda[:i]", description = "Default: cpu.")
  private String device;

  @Option(names = "--backend", paramLabel = "NAME", description = "auto, cpu, reference or cuda.")
  private String backend;

  @Option(names = "--seed", paramLabel = "N", defaultValue = "42", description = "Of the tokens.")
  private long seed;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "md|json|jsonl|csv",
      description = "How the results are printed. Default: md; with --json json.")
  private String format;

  /** A test's rates under one setting. */
  private record Row(
      String model,
      ModelSize size,
      String backend,
      String tier,
      int threads,
      Throughput.Test test,
      double[] rates) {}

  private final List<Row> rows = new ArrayList<>();

  @Mixin private AdapterFlag adapter;

  @Override
  void run() {
    String how = format != null ? format : console().json() ? "json" : "md";
    if (!FORMATS.contains(how)) {
      throw new UsageException("-o " + how + ": expected one of " + String.join(", ", FORMATS));
    }
    if (repetitions < 1) {
      throw new UsageException("-r " + repetitions + ": expected 1 or more");
    }
    List<Throughput.Test> tests = tests();
    List<EngineOptions> settings = settings();
    if (how.startsWith("json")) {
      console().onlyJson();
    }
    for (String model : models) {
      Path path = ModelFlag.resolve(model, environment());
      for (EngineOptions options : settings) {
        measure(path, options, tests, how.equals("jsonl"));
      }
    }
    switch (how) {
      case "md" -> console().write(markdown());
      case "csv" -> console().write(csv());
      case "json" -> {
        ArrayNode all = object().arrayNode();
        rows.forEach(row -> all.add(json(row)));
        console().document(all);
      }
      default -> {} // jsonl: printed as they came
    }
  }

  private List<Throughput.Test> tests() {
    List<Throughput.Test> tests = new ArrayList<>();
    for (int depth : NumberList.parse("-d", depths)) {
      for (int n : NumberList.parse("-p", prompts)) {
        add(tests, n, 0, depth);
      }
      for (int n : NumberList.parse("-n", generated)) {
        add(tests, 0, n, depth);
      }
      for (String pair : both) {
        List<Integer> numbers = NumberList.parse("-pg", pair);
        if (numbers.size() != 2) {
          throw new UsageException("-pg " + pair + ": expected two numbers such as 512,128");
        }
        add(tests, numbers.getFirst(), numbers.getLast(), depth);
      }
    }
    if (tests.isEmpty()) {
      throw new UsageException("-p 0 -n 0: nothing to measure");
    }
    return tests;
  }

  private static void add(List<Throughput.Test> tests, int prompt, int generated, int depth) {
    if (prompt + generated > 0) {
      tests.add(new Throughput.Test(prompt, generated, depth));
    }
  }

  private List<EngineOptions> settings() {
    EngineOptions base = EngineOptions.defaults();
    if (backend != null) {
      base = base.withBackend(Backend.parse(backend));
    }
    if (device != null) {
      base = base.withDevice(Device.parse(device));
    }
    List<EngineOptions> settings = new ArrayList<>();
    for (String tier : tiers.isEmpty() ? List.of(base.tier()) : tiers) {
      for (int n : NumberList.parse("-t", threads)) {
        settings.add(base.withTier(tier.strip()).withThreads(n));
      }
    }
    return settings;
  }

  private void measure(
      Path path, EngineOptions options, List<Throughput.Test> tests, boolean lines) {
    try (NanoModel model = AutoNanoModel.load(path, options, adapter.get())) {
      ModelSize size = ModelSize.of(model.directory());
      for (Throughput.Test test : tests) {
        String name = path.toAbsolutePath().normalize().getFileName().toString();
        int workers = model.engine().threads();
        try (var bench = new Throughput(model.graph(), test, seed, console().cancel())) {
          double[] rates =
              bench.run(
                  repetitions,
                  done ->
                      console()
                          .progress(
                              "%s, %s, %d threads: %s, run %d of %d",
                              name,
                              model.engine().tier(),
                              workers,
                              test.name(),
                              done + 1,
                              repetitions));
          String where = model.engine().device().toString();
          rows.add(new Row(name, size, where, model.engine().tier(), workers, test, rates));
        }
        if (lines) {
          console().line(json(rows.getLast()));
        }
      }
    }
  }

  private ObjectNode json(Row row) {
    ObjectNode json = object();
    json.put("model", row.model()).put("parameters", row.size().parameters());
    json.put("bytes", row.size().bytes()).put("backend", row.backend());
    json.put("tier", row.tier()).put("threads", row.threads()).put("test", row.test().name());
    json.put("tps_median", Throughput.median(row.rates()));
    json.put("tps_min", Arrays.stream(row.rates()).min().orElseThrow());
    json.put("tps_max", Arrays.stream(row.rates()).max().orElseThrow());
    json.put("n_prompt", row.test().prompt()).put("n_gen", row.test().generated());
    json.put("n_depth", row.test().depth()).put("bpw", row.size().bpw());
    ArrayNode samples = json.putArray("tps");
    Arrays.stream(row.rates()).forEach(samples::add);
    return json;
  }

  private String markdown() {
    MarkdownTable table = new MarkdownTable(COLUMNS);
    for (Row row : rows) {
      ObjectNode json = json(row);
      table.add(
          row.model(),
          bytes(row.size().bytes()),
          parameters(row.size().parameters()),
          row.backend(),
          row.tier(),
          Integer.toString(row.threads()),
          row.test().name(),
          rate(json.get("tps_median").asDouble()),
          rate(json.get("tps_min").asDouble()),
          rate(json.get("tps_max").asDouble()));
    }
    return table
        + "\nt/s: tokens per second, median of %d runs after a warm-up; least and most beside it\n"
            .formatted(repetitions);
  }

  private String csv() {
    StringBuilder out = new StringBuilder();
    for (Row row : rows) {
      ObjectNode json = json(row);
      json.remove("tps");
      if (out.isEmpty()) {
        List<String> keys = new ArrayList<>();
        json.fieldNames().forEachRemaining(keys::add);
        out.append(String.join(",", keys)).append('\n');
      }
      List<String> cells = new ArrayList<>();
      json.forEach(value ->
          cells.add(
              value.isTextual()
                  ? '"' + value.asText().replace("\"", "\"\"") + '"'
                  : value.asText()));
      out.append(String.join(",", cells)).append('\n');
    }
    return out.toString();
  }

  private static String bytes(long bytes) {
    return bytes < 1_000_000_000
        ? String.format(Locale.ROOT, "%.2f MB", bytes / 1e6)
        : String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
  }

  private static String parameters(long n) {
    return n < 1_000_000
        ? String.format(Locale.ROOT, "%.1f K", n / 1e3)
        : n < 1_000_000_000
            ? String.format(Locale.ROOT, "%.2f M", n / 1e6)
            : String.format(Locale.ROOT, "%.2f B", n / 1e9);
  }

  private static String rate(double tps) {
    return String.format(Locale.ROOT, tps < 100 ? "%.2f" : "%.1f", tps);
  }
}
