import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.DoubleUnaryOperator;

/** What Peers.java measured, as the tables of docs/performance.md. */
final class PeerTables {
  private static final String FROM = "<!-- bench/peers/run.sh writes from here -->";
  private static final String TO = "<!-- to here -->";

  private final ObjectNode results;
  private final StringBuilder out = new StringBuilder();

  PeerTables(ObjectNode results) {
    this.results = results;
  }

  void into(Path file) throws IOException {
    out.append(
        "%s, %s cores, tier %s, %s, revision %s.\n\n"
            .formatted(
                results.path("cpu").asText(),
                results.path("cores").asText(),
                results.path("tier").asText(),
                results.path("date").asText(),
                results.path("revision").asText()));
    goals();
    linears();
    models();
    String page = Files.readString(file);
    int from = page.indexOf(FROM) + FROM.length();
    int to = page.indexOf(TO);
    if (from < FROM.length() || to < from) {
      throw new IOException(
          "no place for tables in " + file + ": the lines " + FROM + " and " + TO);
    }
    Files.writeString(
        file,
        page.substring(0, from) + "\n\n" + out.toString().strip() + "\n\n" + page.substring(to));
  }

  // ---- goals: ratios, the median of those of each round, since its samples met the same moment
  // ----

  private void goals() {
    out.append("| goal | wanted | 1 thread | 2 threads |\n|---|---|---:|---:|\n");
    goal(
        "M = 1, int4 near-exact: speed against ggml Q4_0",
        1.1,
        "linear m1",
        "seconds",
        "nanomodel i4",
        "llama.cpp q4_0");
    goal(
        "M = 1, int4 near-exact: share of a plain read",
        0.8,
        "linear m1",
        "seconds",
        "nanomodel i4",
        "nanomodel read");
    goal(
        "M = 512, int4 near-exact: against ggml Q4_0",
        4,
        "linear m512",
        "seconds",
        "nanomodel i4",
        "llama.cpp q4_0");
    goal(
        "M = 512, int4 with int8 inputs: against ggml Q4_0",
        4,
        "linear m512",
        "seconds",
        "nanomodel i4-int8",
        "llama.cpp q4_0");
    goal(
        "M = 512, int4 near-exact: against PyTorch bf16",
        1,
        "linear m512",
        "seconds",
        "nanomodel i4",
        "torch bf16");
    goal(
        "M = 512, W8A8: against oneDNN (in PyTorch)",
        1,
        "linear m512",
        "seconds",
        "nanomodel w8a8",
        "torch w8a8");
    for (String peer : List.of("llama.cpp", "jlama")) {
      boolean llama = peer.equals("llama.cpp");
      goal(
          "1.1 B, decode: against " + peer,
          llama ? 1.15 : 2,
          "model random-llama",
          "decode",
          "nanomodel",
          peer);
      goal(
          "1.1 B, prefill: against " + peer,
          llama ? 4 : 20,
          "model random-llama",
          "prefill",
          "nanomodel",
          peer);
      goal(
          "1.1 B, prefill with int8 inputs: against " + peer,
          llama ? 4 : 20,
          "model random-llama",
          "prefill",
          "nanomodel-int8",
          peer);
    }
    out.append('\n');
  }

  private void goal(String name, double wanted, String part, String of, String ours, String peer) {
    out.append("| %s | %sx |".formatted(name, number(wanted)));
    for (int threads = 1; threads <= 2; threads++) {
      JsonNode seconds = results.path("cases").path(part + " t" + threads).path(of);
      List<Double> ratios = new ArrayList<>();
      for (int i = 0; i < Math.min(seconds.path(ours).size(), seconds.path(peer).size()); i++) {
        ratios.add(seconds.path(peer).path(i).asDouble() / seconds.path(ours).path(i).asDouble());
      }
      out.append(ratios.isEmpty() ? " - |" : " %sx |".formatted(number(median(ratios))));
    }
    out.append('\n');
  }

  // ---- GOP/s of a product: kinds by M and threads ----

  private void linears() {
    Map<String, Map<String, String>> cells = new LinkedHashMap<>();
    Map<Integer, List<String>> columns = new TreeMap<>();
    for (JsonNode one : results.path("cases")) {
      if (one.has("m")) {
        String column = "M %s, %sT".formatted(one.path("m").asText(), one.path("threads").asText());
        columns.computeIfAbsent(one.path("threads").asInt(), t -> new ArrayList<>()).add(column);
        double work = 2.0 * one.path("m").asInt() * Math.pow(one.path("size").asInt(), 2);
        one.path("seconds")
            .properties()
            .forEach(kind ->
                cells
                    .computeIfAbsent(kind.getKey(), k -> new LinkedHashMap<>())
                    .put(column, number(work / median(kind.getValue()) / 1e9)));
      }
    }
    if (columns.isEmpty()) {
      return;
    }
    List<String> all = columns.values().stream().flatMap(List::stream).toList();
    out.append("4096 x 4096, GOP/s (2 M N K a second):\n\n");
    out.append("| | ")
        .append(String.join(" | ", all))
        .append(" |\n|---|")
        .append("---:|".repeat(all.size()))
        .append('\n');
    cells.forEach((kind, row) -> {
      out.append("| ").append(kind);
      all.forEach(column -> out.append(" | ").append(row.getOrDefault(column, "")));
      out.append(" |\n");
    });
    out.append('\n');
  }

  private void models() {
    boolean any = false;
    for (JsonNode one : results.path("cases")) {
      if (!one.has("model")) {
        continue;
      }
      if (!any) {
        out.append(
            "| model | threads | by | prefill %s, tokens/s | decode %s, tokens/s | resident, MB | first token, s |\n"
                .formatted(one.path("prompt").asText(), one.path("generated").asText()));
        out.append("|---|---:|---|---:|---:|---:|---:|\n");
        any = true;
      }
      DoubleUnaryOperator reading = seconds -> one.path("prompt").asInt() / seconds;
      DoubleUnaryOperator writing = seconds -> one.path("generated").asInt() / seconds;
      one.path("prefill")
          .properties()
          .forEach(peer ->
              out.append(
                  "| %s | %s | %s | %s | %s | %.0f | %.2f |\n"
                      .formatted(
                          one.path("model").asText(),
                          one.path("threads").asText(),
                          peer.getKey(),
                          number(reading.applyAsDouble(median(peer.getValue()))),
                          number(
                              writing.applyAsDouble(
                                  median(one.path("decode").path(peer.getKey())))),
                          one.path("resident").path(peer.getKey()).asDouble() / 1e6,
                          one.path("load").path(peer.getKey()).asDouble())));
    }
  }

  private static double median(JsonNode values) {
    List<Double> all = new ArrayList<>();
    values.forEach(value -> all.add(value.asDouble()));
    return median(all);
  }

  private static double median(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    return sorted.get(sorted.size() / 2);
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  }
}
