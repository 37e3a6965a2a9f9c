package org.nanomodel.evaluate;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * A Markdown table whose columns are aligned in plain text too: the first to the left, the others
 * to the right.
 */
public final class MarkdownTable {
  private final List<String[]> rows = new ArrayList<>();

  public MarkdownTable(String... header) {
    rows.add(header);
  }

  /** Adds a row of as many cells as the header has. */
  public void add(String... cells) {
    if (cells.length != rows.getFirst().length) {
      throw new IllegalArgumentException(
          cells.length + " cells, expected " + rows.getFirst().length);
    }
    rows.add(cells);
  }

  @Override
  public String toString() {
    int columns = rows.getFirst().length;
    int[] widths = new int[columns];
    for (String[] row : rows) {
      for (int c = 0; c < columns; c++) {
        widths[c] = Math.max(widths[c], Math.max(3, row[c].length()));
      }
    }
    StringBuilder out = new StringBuilder();
    line(out, rows.getFirst(), widths);
    String[] rule = new String[columns];
    for (int c = 0; c < columns; c++) {
      rule[c] = c == 0 ? "-".repeat(widths[c]) : "-".repeat(widths[c] - 1) + ":";
    }
    line(out, rule, widths);
    rows.subList(1, rows.size()).forEach(row -> line(out, row, widths));
    return out.toString();
  }

  private static void line(StringBuilder out, String[] cells, int[] widths) {
    List<String> padded = new ArrayList<>(Collections.nCopies(cells.length, ""));
    for (int c = 0; c < cells.length; c++) {
      padded.set(c, ("%" + (c == 0 ? "-" : "") + widths[c] + "s").formatted(cells[c]));
    }
    out.append("| ").append(String.join(" | ", padded)).append(" |\n");
  }
}
