package org.nanomodel.evaluate;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import javax.imageio.ImageIO;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.style.AxesChartStyler;

/**
 * The picture of a {@link Report}: perplexity and, where it was measured, divergence from the
 * original over bits per weight, side by side, and the sizes below. Drawn at twice the size of the
 * page for sharp screens.
 */
final class ReportPlot {
  private static final int WIDTH = 1120;
  private static final int HEIGHT = 680;
  private static final int TOP = 56; // height of the title
  private static final int QUALITY = 368; // height of the charts below it
  private static final int BOTTOM = 36; // height of the caption
  private static final int SCALE = 2;

  private static final Color INK = new Color(0x1f2933);
  private static final Color SOFT = new Color(0x6b7785);
  private static final Color GRID = new Color(0xedf0f3);
  private static final Color ACCENT = new Color(0x1565c0);
  private static final Color[] LINES = {
    ACCENT, new Color(0x2e7d32), new Color(0x8e24aa), new Color(0x00838f), new Color(0xc62828)
  };
  private static final Color ORIGINAL = new Color(0xef6c00);

  private ReportPlot() {}

  static void write(Report report, Path file) throws IOException {
    BufferedImage image =
        new BufferedImage(SCALE * WIDTH, SCALE * HEIGHT, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = image.createGraphics();
    try {
      g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
      g.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      g.setRenderingHint(
          RenderingHints.KEY_FRACTIONALMETRICS, RenderingHints.VALUE_FRACTIONALMETRICS_ON);
      g.scale(SCALE, SCALE);
      g.setColor(Color.WHITE);
      g.fillRect(0, 0, WIDTH, HEIGHT);
      paint(report, g);
    } catch (InternalError | LinkageError | RuntimeException e) {
      // A Java runtime without any font, or without AWT, fails in many ways, all of them here.
      throw new IOException(
          "cannot draw: is a font installed (such as fonts-dejavu-core)? " + e, e);
    } finally {
      g.dispose();
    }
    if (!ImageIO.write(image, "png", file.toFile())) {
      throw new IOException("no PNG writer in this Java runtime");
    }
  }

  private static void paint(Report report, Graphics2D g) {
    g.setColor(INK);
    g.setFont(font(Font.BOLD, 20));
    g.drawString(report.title(), 28, 40);
    g.setColor(SOFT);
    g.setFont(font(Font.PLAIN, 12));
    g.drawString(report.protocol(), 28, HEIGHT - 16);
    List<Report.Row> rows = report.rows();
    Map<Report.Row, Color> colors = colors(rows);
    legend(rows, colors, g);
    List<QualityChart> quality = new ArrayList<>();
    quality.add(
        new QualityChart(
            "Perplexity (lower is better)", rows, Report.Row::ppl, Report::perplexity, colors));
    quality.add(
        new QualityChart(
            "KL divergence from the original, nats",
            rows,
            Report.Row::kldMean,
            Report::divergence,
            colors));
    quality.removeIf(QualityChart::isEmpty);
    for (int i = 0; i < quality.size(); i++) {
      int width = WIDTH / quality.size();
      Graphics2D part = (Graphics2D) g.create(i * width, TOP, width, QUALITY);
      quality.get(i).paint(part, width, QUALITY);
      part.dispose();
    }
    int height = HEIGHT - TOP - QUALITY - BOTTOM;
    Graphics2D bars = (Graphics2D) g.create(0, TOP + QUALITY, WIDTH, height);
    sizes(rows, colors, WIDTH, height).paint(bars, WIDTH, height);
    bars.dispose();
  }

  /** One for the first row, and one for each method and group size. */
  private static Map<Report.Row, Color> colors(List<Report.Row> rows) {
    Map<Report.Row, Color> colors = new IdentityHashMap<>();
    Map<String, Color> groups = new HashMap<>();
    for (Report.Row row : rows.subList(1, rows.size())) {
      String group = row.method() + " " + row.groupSize();
      colors.put(row, groups.computeIfAbsent(group, k -> LINES[groups.size() % LINES.length]));
    }
    colors.put(rows.getFirst(), ORIGINAL);
    return colors;
  }

  /** Which colour is which method, right of the title; nothing where there is one. */
  private static void legend(List<Report.Row> rows, Map<Report.Row, Color> colors, Graphics2D g) {
    Map<Color, Report.Row> kinds = new LinkedHashMap<>();
    rows.forEach(row -> kinds.putIfAbsent(colors.get(row), row));
    if (kinds.size() < 3) {
      return;
    }
    long sizes =
        rows.stream().map(Report.Row::groupSize).filter(Objects::nonNull).distinct().count();
    g.setFont(font(Font.PLAIN, 14));
    int x = WIDTH - 28;
    for (Map.Entry<Color, Report.Row> kind : List.copyOf(kinds.entrySet()).reversed()) {
      Report.Row row = kind.getValue();
      String name = row.method() == null ? row.name() : row.method();
      if (row.method() != null && sizes > 1) {
        name += row.groupSize() == -1 ? ", whole rows" : ", groups of " + row.groupSize();
      }
      x -= g.getFontMetrics().stringWidth(name);
      g.setColor(kind.getKey());
      g.drawString(name, x, 40);
      g.fillOval(x - 16, 30, 10, 10);
      x -= 40;
    }
  }

  private static CategoryChart sizes(
      List<Report.Row> rows, Map<Report.Row, Color> colors, int width, int height) {
    CategoryChart chart =
        new CategoryChartBuilder().width(width).height(height).title("Size, MB").build();
    style(chart.getStyler());
    chart.getStyler().setPlotGridVerticalLinesVisible(false).setYAxisTicksVisible(false);
    chart.getStyler().setPlotGridLinesVisible(false);
    chart.getStyler().setYAxisMin(0.0).setPlotContentSize(1.0);
    chart.getStyler().setXAxisTickMarkSpacingHint(20);
    chart.getStyler().setAvailableSpaceFill(0.62).setOverlapped(true);
    chart.getStyler().setLabelsVisible(true).setLabelsPosition(1.06);
    chart.getStyler().setLabelsFont(font(Font.PLAIN, 13)).setLabelsFontColor(INK);
    chart.getStyler().setLabelsFontColorAutomaticEnabled(false);
    chart.getStyler().setDecimalPattern(rows.getFirst().bytes() < 1e9 ? "0.0" : "0");
    List<String> names = rows.stream().map(Report.Row::name).toList();
    int longest = names.stream().mapToInt(String::length).max().orElse(0);
    if (7.0 * longest * names.size() > width - 80) {
      chart.getStyler().setXAxisLabelRotation(45);
    }
    List<Double> sizes = rows.stream().map(row -> row.bytes() / 1e6).toList();
    double largest = sizes.stream().mapToDouble(Double::doubleValue).max().orElse(1);
    chart.getStyler().setYAxisMax(1.15 * largest);
    for (Color color : new LinkedHashSet<>(rows.stream().map(colors::get).toList())) {
      List<Double> bars = new ArrayList<>(sizes);
      for (int i = 0; i < bars.size(); i++) {
        bars.set(i, colors.get(rows.get(i)).equals(color) ? sizes.get(i) : null);
      }
      chart.addSeries(color.toString(), names, bars).setFillColor(tint(color));
    }
    return chart;
  }

  static void style(AxesChartStyler styler) {
    styler.setChartBackgroundColor(Color.WHITE).setPlotBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false).setLegendVisible(false).setChartPadding(14);
    styler.setChartTitleBoxVisible(false).setChartTitleFont(font(Font.BOLD, 15));
    styler.setChartFontColor(INK).setAntiAlias(true);
    styler.setAnnotationTextFont(font(Font.PLAIN, 13)).setAnnotationTextFontColor(INK);
    styler.setMarkerSize(10);
    styler.setAxisTitleFont(font(Font.PLAIN, 13)).setAxisTickLabelsFont(font(Font.PLAIN, 12));
    styler.setAxisTickLabelsColor(SOFT).setAxisTickMarksColor(GRID);
    styler.setPlotGridLinesColor(GRID).setPlotGridLinesStroke(new BasicStroke(1));
    styler.setPlotTicksMarksVisible(false).setAxisTicksLineVisible(false).setPlotMargin(6);
  }

  /** Half way to white. */
  private static Color tint(Color c) {
    return new Color((c.getRed() + 255) / 2, (c.getGreen() + 255) / 2, (c.getBlue() + 255) / 2);
  }

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }
}
