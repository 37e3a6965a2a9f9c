package org.nanomodel.evaluate;

import java.awt.geom.Line2D;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Finds places for the labels of points where they cover neither each other nor the lines between.
 * In pixels, y down.
 */
final class LabelPlacer {
  private static final double HEIGHT = 17;
  private static final double GAP = 7; // between a point's marker and its label

  private final List<Point2D> points;
  private final List<Line2D> lines;
  private final Rectangle2D area;
  private final List<Rectangle2D> taken = new ArrayList<>();

  LabelPlacer(List<Point2D> points, List<Line2D> lines, Rectangle2D area) {
    this.points = points;
    this.lines = lines;
    this.area = area;
    for (Point2D p : points) {
      taken.add(new Rectangle2D.Double(p.getX() - 6, p.getY() - 6, 12, 12));
    }
  }

  /**
   * The middle of the label of point i: the first free place around it; if a line runs through each
   * of them, the first that is free of points and labels; empty if there is none.
   */
  Optional<Point2D> place(int i, double width) {
    Point2D p = points.get(i);
    double beside = width / 2 + GAP + 5;
    double over = HEIGHT / 2 + GAP + 4;
    double[][] offsets = {
      {0, -over},
      {beside, 0},
      {0, over},
      {beside * 0.85, -over},
      {beside * 0.85, over},
      {-beside, 0},
      {-beside * 0.85, -over},
      {-beside * 0.85, over},
      {beside, HEIGHT},
      {beside, -HEIGHT},
      {-beside, HEIGHT},
      {-beside, -HEIGHT},
      {beside, 2 * HEIGHT},
      {beside, -2 * HEIGHT},
      {-beside, 2 * HEIGHT},
      {-beside, -2 * HEIGHT},
      {0, over + HEIGHT},
      {0, -over - HEIGHT}
    };
    for (boolean overLines : new boolean[] {false, true}) {
      for (double[] offset : offsets) {
        Rectangle2D box = box(p.getX() + offset[0], p.getY() + offset[1], width);
        if (isFree(box) && (overLines || isClearOfLines(box))) {
          taken.add(box);
          return Optional.of(new Point2D.Double(box.getCenterX(), box.getCenterY()));
        }
      }
    }
    return Optional.empty();
  }

  private static Rectangle2D box(double x, double y, double width) {
    return new Rectangle2D.Double(x - width / 2, y - HEIGHT / 2, width, HEIGHT);
  }

  private boolean isFree(Rectangle2D box) {
    return area.contains(box) && taken.stream().noneMatch(box::intersects);
  }

  private boolean isClearOfLines(Rectangle2D box) {
    return lines.stream().noneMatch(line -> line.intersects(box));
  }
}
