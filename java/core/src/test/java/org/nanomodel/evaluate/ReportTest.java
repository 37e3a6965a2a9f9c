package org.nanomodel.evaluate;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.geom.Line2D;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
  private static Report report() {
    return new Report(
        "two",
        "protocol rows",
        List.of(
            new Report.Row(
                "float16",
                null,
                null,
                null,
                16,
                10_500_000,
                2.536,
                0.0,
                1.0,
                3.0,
                85.0,
                100.4,
                7_000_000L),
            new Report.Row(
                "2 bits", "rtn", 2, 128L, 2.234, 2_400_000, 69.57, 3.2, 0.25, null, null, null,
                null)));
  }

  @Test
  void markdownIsAlignedAndComparesWithTheFirstRow() {
    assertThat(report().toMarkdown())
        .isEqualTo(
            """
            ## two

            | weights | bits/weight |    size | of original | perplexity | change |   KL | same top | prefill ms | prefill tok/s | decode tok/s | peak memory |
            | ------- | ----------: | ------: | ----------: | ---------: | -----: | ---: | -------: | ---------: | ------------: | -----------: | ----------: |
            | float16 |       16.00 | 10.5 MB |       100 % |      2.536 |      - |    - |        - |        3.0 |            85 |          100 |      7.0 MB |
            | 2 bits  |        2.23 |  2.4 MB |        23 % |      69.57 |   x 27 | 3.20 |   25.0 % |          - |             - |            - |           - |

            protocol rows
            """);
  }

  @Test
  void whatWasNotMeasuredHasNoColumn() {
    Report.Row row =
        new Report.Row(
            "only", null, null, null, 16, 1_000_000, 2.0, null, null, null, null, null, null);
    assertThat(new Report("one", "how", List.of(row)).toMarkdown())
        .contains("| weights | bits/weight |   size | of original | perplexity | change | decode");
  }

  @Test
  void methodsHaveLinesOfTheirOwn(@TempDir Path directory) throws IOException {
    List<Report.Row> rows = new ArrayList<>(report().rows());
    rows.add(
        new Report.Row(
            "gptq", "gptq", 2, 128L, 2.3, 2_400_000, 30.0, null, null, null, null, null, null));
    Path file = directory.resolve("methods.png");
    try {
      new Report("two methods", "how", rows).writePng(file);
    } catch (IOException e) {
      Assumptions.abort("skipped: " + e.getMessage());
    }
    BufferedImage image = ImageIO.read(file.toFile());
    assertThat(count(image, 0x1565c0)).isGreaterThan(500);
    assertThat(count(image, 0x2e7d32)).isGreaterThan(500);
  }

  @Test
  void jsonHasTheKeysOfTheCommandLine() {
    List<String> keys = new ArrayList<>();
    report().toJson().get(0).fieldNames().forEachRemaining(keys::add);
    assertThat(keys)
        .containsExactly(
            "name",
            "method",
            "bits",
            "group_size",
            "bpw",
            "bytes",
            "ppl",
            "kld_mean",
            "top1_agreement",
            "prefill_ms",
            "prefill_tps",
            "decode_tps",
            "peak_rss_bytes");
    assertThat(report().toJson().get(0).get("bits").isNull()).isTrue();
    assertThat(report().toJson().get(1).get("group_size").asInt()).isEqualTo(128);
  }

  @Test
  void pictureShowsPointsAndBars(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("report.png");
    try {
      report().writePng(file);
    } catch (IOException e) {
      Assumptions.abort("skipped: " + e.getMessage());
    }
    BufferedImage image = ImageIO.read(file.toFile());
    assertThat(image.getWidth()).isEqualTo(2240);
    assertThat(count(image, 0xef6c00)).isGreaterThan(100); // the point of the original
    assertThat(count(image, 0x1565c0)).isGreaterThan(500); // the line
    assertThat(count(image, 0xf7b57f)).isGreaterThan(10_000); // its bar
    assertThat(count(image, 0x8ab2df)).isGreaterThan(5_000); // the other bar
  }

  private static long count(BufferedImage image, int rgb) {
    int[] pixels =
        image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
    return Arrays.stream(pixels).filter(p -> (p & 0xffffff) == rgb).count();
  }

  @Test
  void labelsKeepClearOfEachOtherAndOfLines() {
    List<Point2D> points =
        List.of(
            new Point2D.Double(500, 280),
            new Point2D.Double(210, 279),
            new Point2D.Double(200, 275),
            new Point2D.Double(190, 40));
    List<Line2D> lines =
        List.of(
            new Line2D.Double(points.get(0), points.get(1)),
            new Line2D.Double(points.get(2), points.get(3)));
    LabelPlacer placer = new LabelPlacer(points, lines, new Rectangle2D.Double(0, 0, 600, 320));
    List<Rectangle2D> boxes = new ArrayList<>();
    for (int i = 0; i < points.size(); i++) {
      Point2D at = placer.place(i, 90).orElseThrow();
      Rectangle2D box = new Rectangle2D.Double(at.getX() - 45, at.getY() - 8, 90, 16);
      assertThat(boxes.stream().noneMatch(box::intersects)).isTrue();
      assertThat(lines.stream().noneMatch(line -> line.intersects(box))).isTrue();
      boxes.add(box);
    }
  }

  @Test
  void aLabelWithoutARoomIsLeftOut() {
    List<Point2D> points = List.of(new Point2D.Double(50, 15), new Point2D.Double(52, 15));
    LabelPlacer placer = new LabelPlacer(points, List.of(), new Rectangle2D.Double(0, 0, 100, 30));
    assertThat(placer.place(0, 60)).isEmpty();
    assertThat(placer.place(1, 20)).isPresent();
    assertThat(placer.place(1, 20)).isPresent();
    assertThat(placer.place(1, 20)).isEmpty();
  }
}
