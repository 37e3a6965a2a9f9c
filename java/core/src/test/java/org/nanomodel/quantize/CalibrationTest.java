package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.model.Config;
import org.nanomodel.quantize.CalibrationOptions.Sort;
import org.nanomodel.tokenizer.Tokenizer;

class CalibrationTest {
  private static final Config MODEL =
      Config.load(SharedData.root().resolve("data/models/stories-qwen3"));
  private static final CalibrationOptions PLAIN =
      CalibrationOptions.DEFAULT.withSort(Sort.NONE, 0).withMinLength(0);

  private static Calibration of(CalibrationOptions options, int[]... rows) {
    return Calibration.of(
        TextData.ofIds("rows", List.of(rows), DataOptions.ALL), Optional.empty(), MODEL, options);
  }

  private static int[] row(int length, int id) {
    var row = new int[length];
    Arrays.fill(row, id);
    return row;
  }

  @Test
  void shortRowsAreLeftOutAndTheLongestComesFirst() {
    var calibration =
        of(CalibrationOptions.DEFAULT, row(11, 1), row(10, 2), row(30, 3), row(11, 4));
    assertThat(calibration.rows()).extracting(r -> r[0]).containsExactly(3, 1, 4);
    assertThat(calibration.tokens()).isEqualTo(52);
    assertThat(calibration.warnings())
        .anyMatch(w -> w.contains("1 of 4 rows left out, of 10 tokens or fewer"))
        .anyMatch(w -> w.contains("only 3 rows with 52 tokens"))
        .anyMatch(w -> w.contains("58 % of the tokens are the same, id 3"));
    assertThatThrownBy(() -> of(CalibrationOptions.DEFAULT, row(5, 1)))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("none of more than 10 tokens");
  }

  @Test
  void rowsAreJoinedAndCutAnewAndNothingIsPadded() {
    var calibration = of(PLAIN.withConcat(4, null), new int[] {1, 2, 3}, new int[] {4, 5, 6});
    assertThat(calibration.rows()).containsExactly(new int[] {1, 2, 3, 4}, new int[] {5, 6});
    assertThatThrownBy(() -> of(PLAIN.withConcat(4, "\n"), new int[] {1}))
        .hasMessageContaining("tokenizer.json");
    assertThatThrownBy(() -> PLAIN.withConcat(0, "\n")).hasMessageContaining("concat size");
  }

  @Test
  void otherOrdersAreByLengthOrSeed() {
    int[][] rows = {row(2, 1), row(3, 2), row(1, 3), row(4, 4)};
    assertThat(of(PLAIN.withSort(Sort.ASC, 0), rows).rows())
        .extracting(r -> r[0])
        .containsExactly(3, 1, 2, 4);
    var once = of(PLAIN.withSort(Sort.SHUFFLE, 1), rows);
    assertThat(once.identity()).isEqualTo(of(PLAIN.withSort(Sort.SHUFFLE, 1), rows).identity());
    assertThat(once.identity()).isNotEqualTo(of(PLAIN, rows).identity());
    assertThatThrownBy(() -> Sort.of("up")).hasMessageContaining("desc, asc, shuffle, none");
  }

  @Test
  void whatMakesPoorStatisticsIsSaid() {
    var random = new Random(1);
    int[] some = random.ints(300, 0, 100).toArray();
    int[][] same = IntStream.range(0, 140).mapToObj(i -> some).toArray(int[][]::new);
    assertThat(of(PLAIN, same).warnings())
        .containsExactly("calibration: of 140 rows only 1 differ");
    int[][] fine =
        IntStream.range(0, 140)
            .mapToObj(i -> random.ints(300, 0, 100).toArray())
            .toArray(int[][]::new);
    assertThat(of(PLAIN, fine).warnings()).isEmpty();
    fine[7] = new int[MODEL.maxPositions() + 5];
    var cut = of(PLAIN, fine);
    assertThat(cut.rows().get(7)).hasSize(MODEL.maxPositions());
    assertThat(cut.warnings()).anyMatch(w -> w.contains("1 rows were cut"));
    assertThatThrownBy(() -> of(PLAIN, new int[] {1, MODEL.vocabSize()}))
        .hasMessageContaining("row 0 holds id " + MODEL.vocabSize());
  }

  @Test
  void aTextThatIsOneDocumentIsCutIntoRowsOfOneLength() {
    try (var tokenizer =
        Tokenizer.load(SharedData.root().resolve("data/models/stories-qwen3/tokenizer.json"))) {
      String text = "Once upon a time there was a little dog who liked to play. ".repeat(50);
      var options = DataOptions.ALL.withSeqLen(64).withSamples(3);
      var calibration =
          Calibration.of(
              TextData.ofTexts("text", List.of(text), options),
              Optional.of(tokenizer),
              MODEL,
              CalibrationOptions.DEFAULT);
      assertThat(calibration.rows()).hasSize(3).allMatch(row -> row.length == 64);
      var short1 =
          Calibration.of(
              TextData.ofTexts("text", List.of(text.substring(0, 118)), DataOptions.ALL),
              Optional.of(tokenizer),
              MODEL,
              CalibrationOptions.DEFAULT);
      assertThat(short1.rows()).hasSize(1);
    }
  }

  @Test
  void aSetThatIsMissingIsAskedForByItsPlace() {
    assertThatThrownBy(() -> TextData.open("wikitext2", DataOptions.ALL))
        .hasMessageContaining("texts")
        .hasMessageContaining("wikitext2.txt")
        .hasMessageContaining("wikitext2.jsonl");
  }
}
