package org.nanomodel.evaluate;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.geom.Line2D;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.DoubleFunction;
import java.util.function.Function;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * One measure of a report's rows over their bits per weight: points with labels, and a line for
 * each method and group size; where there are several, a label says the value only. Bits are on a
 * scale of powers of two, so that 2, 3 and 4 are as far apart as the models they make; the measure
 * is on a logarithmic scale where it spans more than a factor of three.
 */
final class QualityChart {
  private static final double LOGARITHMIC_FROM = 3;
  private static final double DECADES_FROM = 300; // above it only powers of ten have a label
  private static final double MARGIN = 0.14; // of the scale, above and below the points
  private static final double LEFT = 1; // powers of two before the first point, for its label
  private static final double RIGHT = 0.8;
  private static final double MOST_SPACE = 200; // more than the height, and XChart draws no ticks

  /** A row that has the measure. */
  private record Point(Report.Row row, double x, double y) {}

  private final List<Point> points;
  private final DoubleFunction<String> text;
  private final Map<Report.Row, Color> colors;
  private final List<List<Point>> lines;
  private final XYChart chart;

  /**
   * @param value null, 0 or not finite where a row has no point
   * @param text of a value, in labels
   */
  QualityChart(
      String title,
      List<Report.Row> rows,
      Function<Report.Row, Double> value,
      DoubleFunction<String> text,
      Map<Report.Row, Color> colors) {
    this.text = text;
    this.colors = colors;
    points = new ArrayList<>();
    for (Report.Row row : rows) {
      Double y = value.apply(row);
      if (y != null && y > 0 && Double.isFinite(y)) {
        points.add(new Point(row, Math.log(row.bpw()) / Math.log(2), y));
      }
    }
    lines = lines();
    chart = new XYChartBuilder().title(title).xAxisTitle("bits per quantized weight").build();
  }

  /** Whether there is nothing to show. */
  boolean isEmpty() {
    return points.isEmpty();
  }

  void paint(Graphics2D g, int width, int height) {
    ReportPlot.style(chart.getStyler());
    scales(chart.getStyler(), width);
    for (int i = 0; i < lines.size(); i++) {
      draw(lines.get(i), "line " + i);
    }
    draw(points.subList(0, 1), "first"); // over the lines that end there
    chart.paint(g, width, height);
    labels(g);
  }

  /** By rising bits per weight, up to the first row if it has a point. */
  private List<List<Point>> lines() {
    Map<String, List<Point>> groups = new LinkedHashMap<>();
    for (Point point : points) {
      Report.Row row = point.row();
      groups
          .computeIfAbsent(row.method() + " " + row.groupSize(), k -> new ArrayList<>())
          .add(point);
    }
    List<Point> original = groups.remove("null null");
    if (original != null) {
      groups.values().forEach(line -> line.addAll(original));
    }
    groups.values().forEach(line -> line.sort(Comparator.comparingDouble(Point::x)));
    return List.copyOf(groups.values());
  }

  private void draw(List<Point> line, String name) {
    double[] x = line.stream().mapToDouble(Point::x).toArray();
    double[] y = line.stream().mapToDouble(Point::y).toArray();
    Color color = colors.get(line.getFirst().row());
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(color);
    series.setLineColor(color).setLineStyle(new BasicStroke(2.2f));
  }

  private void scales(AxesChartStyler styler, int width) {
    double left = points.stream().mapToDouble(Point::x).min().orElseThrow() - LEFT;
    double right = points.stream().mapToDouble(Point::x).max().orElseThrow() + RIGHT;
    styler.setXAxisMin(left).setXAxisMax(right);
    double power = width / (right - left);
    styler.setXAxisTickMarkSpacingHint((int) Math.min(0.75 * power, MOST_SPACE));
    styler.setXAxisTickLabelsFormattingFunction(x ->
        bits(x).orElse(x < (left + right) / 2 ? "" : " ")); // no ticks if both ends say the same
    double low = points.stream().mapToDouble(Point::y).min().orElseThrow();
    double high = points.stream().mapToDouble(Point::y).max().orElseThrow();
    if (high / low > LOGARITHMIC_FROM) {
      double margin = Math.pow(high / low, MARGIN);
      styler.setYAxisLogarithmic(true).setYAxisLogarithmicDecadeOnly(high / low > DECADES_FROM);
      styler.setYAxisMin(low / margin).setYAxisMax(high * margin);
      styler.setYAxisTickLabelsFormattingFunction(QualityChart::tick);
    } else {
      double margin = high > low ? 1.5 * MARGIN * (high - low) : high / 2;
      styler.setYAxisMin(low - margin).setYAxisMax(high + margin);
      String pattern =
          "%." + Math.max(0, 1 - (int) Math.floor(Math.log10(high - low + margin))) + "f";
      styler.setYAxisTickLabelsFormattingFunction(y -> String.format(Locale.ROOT, pattern, y));
    }
  }

  /** Whole powers of two have a label. */
  private static Optional<String> bits(double log) {
    double whole = Math.rint(log);
    return Math.abs(log - whole) < 1e-6 ? Optional.of(plain(Math.pow(2, whole))) : Optional.empty();
  }

  /** 1, 2, 5, 10, 20, 50, ...: lines between have no label. */
  private static String tick(double value) {
    long digit = Math.round(value / Math.pow(10, Math.floor(Math.log10(value) + 1e-9)));
    return digit == 1 || digit == 2 || digit == 5 ? plain(value) : "";
  }

  private static String plain(double value) {
    BigDecimal rounded = new BigDecimal(value).round(new MathContext(6)).stripTrailingZeros();
    return rounded.toPlainString();
  }

  /** Once the chart is painted it knows where its points are. */
  private void labels(Graphics2D g) {
    g.setFont(chart.getStyler().getAnnotationTextFont());
    FontMetrics font = g.getFontMetrics();
    List<Point2D> pixels = points.stream().map(this::pixel).toList();
    List<Line2D> strokes = new ArrayList<>();
    for (List<Point> line : lines) {
      for (int i = 1; i < line.size(); i++) {
        strokes.add(new Line2D.Double(pixel(line.get(i - 1)), pixel(line.get(i))));
      }
    }
    double bottom = chart.getScreenYFromChart(chart.getStyler().getYAxisMin());
    double top = chart.getScreenYFromChart(chart.getStyler().getYAxisMax());
    double left = chart.getScreenXFromChart(chart.getStyler().getXAxisMin());
    double right = chart.getScreenXFromChart(chart.getStyler().getXAxisMax());
    var area = new Rectangle2D.Double(left, top, right - left, bottom - top);
    LabelPlacer placer = new LabelPlacer(pixels, strokes, area);
    for (int i = 0; i < points.size(); i++) {
      String value = text.apply(points.get(i).y());
      String label = lines.size() > 1 ? value : points.get(i).row().name() + ": " + value;
      double wide = font.stringWidth(label);
      g.setColor(colors.get(points.get(i).row()));
      placer
          .place(i, wide)
          .ifPresent(middle ->
              g.drawString(
                  label,
                  (float) (middle.getX() - wide / 2),
                  (float) middle.getY() + font.getAscent() / 2f - 1));
    }
  }

  private Point2D pixel(Point p) {
    return new Point2D.Double(chart.getScreenXFromChart(p.x()), chart.getScreenYFromChart(p.y()));
  }
}
