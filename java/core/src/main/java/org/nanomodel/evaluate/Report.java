package org.nanomodel.evaluate;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Variants of a model side by side: how good (perplexity), how large (bytes, bits per weight), how
 * fast. As Markdown, JSON and a picture. The first row is what the others are compared with.
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
   * @param decodeTps tokens per second, one sequence
   */
  public record Row(
      String name,
      String method,
      Integer bits,
      Long groupSize,
      double bpw,
      long bytes,
      Double ppl,
      Double prefillMs,
      Double prefillTps,
      Double decodeTps,
      Long peakRssBytes) {}

  public Report {
    rows = List.copyOf(rows);
  }

  /** The table, and a line that says how it was measured. */
  public String toMarkdown() {
    MarkdownTable table =
        new MarkdownTable(
            "weights",
            "bits/weight",
            "size",
            "of original",
            "perplexity",
            "change",
            "decode tok/s");
    Row first = rows.getFirst();
    for (Row row : rows) {
      table.add(
          row.name(),
          format("%.2f", row.bpw()),
          size(row.bytes()),
          format("%.0f %%", 100.0 * row.bytes() / first.bytes()),
          row.ppl() == null ? "-" : perplexity(row.ppl()),
          change(row.ppl(), first.ppl()),
          row.decodeTps() == null ? "-" : format("%.0f", row.decodeTps()));
    }
    return "## " + title + "\n\n" + table + "\n" + protocol + "\n";
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
      node.putNull("kld_mean");
      node.putNull("top1_agreement");
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
