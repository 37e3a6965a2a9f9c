package org.nanomodel.evaluate;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import javax.imageio.ImageIO;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The picture of a {@link Report}: on the left perplexity over bits per weight, on a logarithmic
 * axis since two bits can cost a factor of a thousand; on the right the sizes. Drawn at twice the
 * size of the page for sharp screens.
 */
final class ReportPlot {
  private static final int WIDTH = 1120;
  private static final int HEIGHT = 520;
  private static final int LEFT = 680; // width of the left chart
  private static final int TOP = 56; // height of the title
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
  private static final Color ORIGINAL_BAR = new Color(0xf7b97f);
  private static final Color BAR = new Color(0x90b8e0);

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
    } catch (InternalError | RuntimeException e) {
      // A Java runtime on a machine without any font fails in many ways, all of them here.
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
    int height = HEIGHT - TOP - BOTTOM;
    Graphics2D left = (Graphics2D) g.create(0, TOP, LEFT, height);
    quality(report.rows(), LEFT, height).paint(left, LEFT, height);
    left.dispose();
    Graphics2D right = (Graphics2D) g.create(LEFT, TOP, WIDTH - LEFT - 12, height);
    sizes(report.rows(), WIDTH - LEFT - 12, height).paint(right, WIDTH - LEFT - 12, height);
    right.dispose();
  }

  private static XYChart quality(List<Report.Row> all, int width, int height) {
    List<Report.Row> rows = all.stream().filter(row -> row.ppl() != null).toList();
    XYChart chart =
        new XYChartBuilder()
            .width(width)
            .height(height)
            .title("Perplexity (lower is better)")
            .xAxisTitle("bits per quantized weight, scales included")
            .build();
    style(chart.getStyler());
    double best = rows.stream().mapToDouble(Report.Row::ppl).min().orElse(1);
    double worst = rows.stream().mapToDouble(Report.Row::ppl).max().orElse(10);
    double widest = all.stream().mapToDouble(Report.Row::bpw).max().orElse(16);
    double low = best / Math.pow(worst / best, 0.12) / 1.1;
    double high = worst * Math.pow(worst / best, 0.12) * 1.1;
    chart.getStyler().setYAxisLogarithmic(true).setYAxisMin(low).setYAxisMax(high);
    chart.getStyler().setXAxisMin(0.0).setXAxisMax(widest * 1.1);
    chart.getStyler().setYAxisTickLabelsFormattingFunction(ReportPlot::tick);
    chart.getStyler().setYAxisLogarithmicDecadeOnly(worst / best > 500);
    chart.getStyler().setXAxisDecimalPattern("0").setXAxisTickMarkSpacingHint(60);

    lines(chart, rows);
    double[] x = {rows.getFirst().bpw()};
    double[] y = {rows.getFirst().ppl()};
    XYSeries original = chart.addSeries("original", x, y);
    original.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(ORIGINAL);
    label(chart, rows, widest * 1.1, low, high);
    return chart;
  }

  /** A line for each method and group size, from the original on, by falling bits per weight. */
  private static void lines(XYChart chart, List<Report.Row> rows) {
    Map<String, List<Report.Row>> groups = new LinkedHashMap<>();
    for (Report.Row row : rows.subList(1, rows.size())) {
      String key = row.method() + " g" + row.groupSize();
      groups.computeIfAbsent(key, k -> new ArrayList<>(List.of(rows.getFirst()))).add(row);
    }
    if (groups.isEmpty()) {
      groups.put("only", List.of(rows.getFirst()));
    }
    int number = 0;
    for (var group : groups.entrySet()) {
      List<Report.Row> points = new ArrayList<>(group.getValue());
      points.sort(Comparator.comparingDouble(Report.Row::bpw).reversed());
      double[] x = points.stream().mapToDouble(Report.Row::bpw).toArray();
      double[] y = points.stream().mapToDouble(Report.Row::ppl).toArray();
      Color color = LINES[number++ % LINES.length];
      XYSeries line = chart.addSeries(group.getKey(), x, y);
      line.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(color);
      line.setLineColor(color).setLineStyle(new BasicStroke(2.2f));
    }
  }

  /** Labels stand in data coordinates; whether they are free is decided in pixels. */
  private static void label(
      XYChart chart, List<Report.Row> rows, double xMax, double low, double high) {
    Rectangle2D area = new Rectangle2D.Double(0, 0, LEFT - 110, HEIGHT - TOP - BOTTOM - 110);
    double span = Math.log(high / low);
    List<Point2D> points =
        rows.stream()
            .map(row ->
                (Point2D)
                    new Point2D.Double(
                        row.bpw() / xMax * area.getWidth(),
                        Math.log(high / row.ppl()) / span * area.getHeight()))
            .toList();
    LabelPlacer placer = new LabelPlacer(points, area);
    for (int i = 0; i < rows.size(); i++) {
      String text = rows.get(i).name() + ": " + Report.perplexity(rows.get(i).ppl());
      Point2D at = placer.place(i, 7.4 * text.length());
      double x = at.getX() / area.getWidth() * xMax;
      double y = high * Math.exp(-at.getY() / area.getHeight() * span);
      chart.addAnnotation(new AnnotationText(text, x, y, false));
    }
  }

  private static CategoryChart sizes(List<Report.Row> rows, int width, int height) {
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
    List<Double> first = new ArrayList<>(Collections.nCopies(sizes.size(), null));
    first.set(0, sizes.getFirst());
    List<Double> others = new ArrayList<>(sizes);
    others.set(0, null);
    chart.addSeries("original", names, first).setFillColor(ORIGINAL_BAR);
    chart.addSeries("quantized", names, others).setFillColor(BAR);
    return chart;
  }

  private static void style(AxesChartStyler styler) {
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

  /** 1, 2, 5, 10, 20, 50, ...: lines between have no label. */
  private static String tick(Double value) {
    double digit = value / Math.pow(10, Math.floor(Math.log10(value) + 1e-9));
    long rounded = Math.round(digit);
    boolean labelled = rounded == 1 || rounded == 2 || rounded == 5;
    return labelled ? String.format(Locale.ROOT, value < 1 ? "%.1f" : "%,.0f", value) : "";
  }

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }
}
