package org.nanomodel.evaluate;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;

/**
 * Variants of a model side by side: how good (perplexity, divergence), how large (bytes, bits per
 * weight), how fast. As Markdown, JSON and a picture. The first row is what the others are compared
 * with.
 *
 * @param title what is compared
 * @param protocol how perplexity was measured, in a few words; stands under the table and the
 *     picture
 */
public record Report(String title, String protocol, List<Row> rows) {
  /**
   * One variant. What was not measured is null.
   *
   * @param method null for the original
   * @param bits of the quantized weights; null for the original
   * @param groupSize null for the original
   * @param bpw bits per quantized weight, with scales and zeros; of the original, per weight
   * @param bytes of the weights file
   * @param kldMean mean divergence from the original, in nats
   * @param top1Agreement part of the positions where the likeliest token is the original's, 0 to 1
   * @param prefillMs time of reading a prompt
   * @param decodeTps tokens per second, one sequence
   * @param peakRssBytes the most memory of the process from loading to generating
   */
  public record Row(
      String name,
      String method,
      Integer bits,
      Long groupSize,
      double bpw,
      long bytes,
      Double ppl,
      Double kldMean,
      Double top1Agreement,
      Double prefillMs,
      Double prefillTps,
      Double decodeTps,
      Long peakRssBytes) {}

  public Report {
    rows = List.copyOf(rows);
  }

  /** A column: its title, and the text of a row. */
  private record Column(String title, Function<Row, String> cell) {}

  /** The table, and a line that says how it was measured. What no row has gets no column. */
  public String toMarkdown() {
    List<Column> columns = columns();
    MarkdownTable table =
        new MarkdownTable(columns.stream().map(Column::title).toArray(String[]::new));
    for (Row row : rows) {
      table.add(columns.stream().map(c -> c.cell().apply(row)).toArray(String[]::new));
    }
    return "## " + title + "\n\n" + table + "\n" + protocol + "\n";
  }

  private List<Column> columns() {
    Row first = rows.getFirst();
    List<Column> columns = new ArrayList<>();
    columns.add(new Column("weights", Row::name));
    columns.add(new Column("bits/weight", row -> format("%.2f", row.bpw())));
    columns.add(new Column("size", row -> size(row.bytes())));
    columns.add(
        new Column("of original", row -> format("%.0f %%", 100.0 * row.bytes() / first.bytes())));
    columns.add(column("perplexity", Row::ppl, Report::perplexity));
    columns.add(new Column("change", row -> change(row.ppl(), first.ppl())));
    add(columns, "KL", row -> row == first ? null : row.kldMean(), Report::divergence);
    add(
        columns,
        "same top",
        row -> row == first ? null : row.top1Agreement(),
        part -> format("%.1f %%", 100 * part));
    add(columns, "prefill ms", Row::prefillMs, ms -> format(ms < 100 ? "%.1f" : "%.0f", ms));
    add(columns, "prefill tok/s", Row::prefillTps, tps -> format("%.0f", tps));
    columns.add(
        column("decode tok/s", Row::decodeTps, tps -> format(tps < 10 ? "%.1f" : "%.0f", tps)));
    add(columns, "peak memory", Row::peakRssBytes, Report::size);
    return columns;
  }

  /** Adds a column that some row has. */
  private <T> void add(
      List<Column> columns, String title, Function<Row, T> value, Function<T, String> text) {
    if (rows.stream().anyMatch(row -> value.apply(row) != null)) {
      columns.add(column(title, value, text));
    }
  }

  private static <T> Column column(String title, Function<Row, T> value, Function<T, String> text) {
    return new Column(title, row -> value.apply(row) == null ? "-" : text.apply(value.apply(row)));
  }

  /** The rows under the keys of the command line's JSON. */
  public ArrayNode toJson() {
    ArrayNode out = new ObjectMapper().createArrayNode();
    for (Row row : rows) {
      ObjectNode node = out.addObject();
      node.put("name", row.name());
      node.put("method", row.method());
      node.put("bits", row.bits());
      node.put("group_size", row.groupSize());
      node.put("bpw", row.bpw());
      node.put("bytes", row.bytes());
      node.put("ppl", row.ppl());
      node.put("kld_mean", row.kldMean());
      node.put("top1_agreement", row.top1Agreement());
      node.put("prefill_ms", row.prefillMs());
      node.put("prefill_tps", row.prefillTps());
      node.put("decode_tps", row.decodeTps());
      node.put("peak_rss_bytes", row.peakRssBytes());
    }
    return out;
  }

  /** A PNG: perplexity over bits per weight, and sizes. */
  public void writePng(Path file) throws IOException {
    ReportPlot.write(this, file);
  }

  /** Four significant digits, however large. */
  static String perplexity(double ppl) {
    return ppl < 10 ? format("%.3f", ppl) : ppl < 100 ? format("%.2f", ppl) : format("%.0f", ppl);
  }

  /** Three significant digits. */
  static String divergence(double nats) {
    return nats < 0.001 ? format("%.1e", nats) : format(nats < 1 ? "%.4f" : "%.2f", nats);
  }

  static String size(long bytes) {
    return bytes < 1_000_000_000 ? format("%.1f MB", bytes / 1e6) : format("%.2f GB", bytes / 1e9);
  }

  private static String change(Double ppl, Double original) {
    if (ppl == null || original == null || ppl.equals(original)) {
      return "-";
    }
    double percent = 100 * (ppl / original - 1);
    if (Math.abs(percent) < 0.05) {
      return "0.0 %";
    }
    return percent < 1000 ? format("%+.1f %%", percent) : format("x %.0f", ppl / original);
  }

  private static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }
}
