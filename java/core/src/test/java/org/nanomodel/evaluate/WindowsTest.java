package org.nanomodel.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.tokenizer.Tokenizer;

class WindowsTest {
  private static int[] stream(int n) {
    return IntStream.range(0, n).toArray();
  }

  @Test
  void rowsScoreAllButTheFirst() {
    List<ScoredWindow> windows = Windows.rows(List.of(stream(5), stream(1), stream(2)));
    assertThat(windows).hasSize(2);
    assertThat(windows.getFirst().from()).isEqualTo(1);
    assertThat(windows.getFirst().scored()).isEqualTo(4);
  }

  @Test
  void windowsDropTheRest() {
    List<ScoredWindow> windows = Windows.cut(stream(11), 4);
    assertThat(windows).hasSize(2);
    assertThat(windows.get(1).ids()).containsExactly(4, 5, 6, 7);
    assertThat(windows.get(1).scored()).isEqualTo(3);
  }

  /** In a stream of ids that equal their places, every place but the first is scored once. */
  @ParameterizedTest
  @CsvSource({"10,4,2", "10,4,4", "10,4,1", "11,4,3", "4,4,2", "3,8,4", "100,7,5", "2,2,1"})
  void slidingScoresEveryPositionOnce(int length, int window, int stride) {
    List<Integer> scored = new ArrayList<>();
    for (ScoredWindow w : Windows.sliding(stream(length), window, stride)) {
      assertThat(w.ids().length).isLessThanOrEqualTo(window);
      for (int i = w.from(); i < w.to(); i++) {
        scored.add(w.ids()[i]);
      }
    }
    boolean disjoint = stride == window; // then the first of each window has nothing before it
    List<Integer> expected =
        IntStream.range(1, length).filter(i -> !disjoint || i % window != 0).boxed().toList();
    assertThat(scored).isEqualTo(expected);
  }

  /**
   * llama.cpp and GPTQModel: logits of positions n/2 .. n-2 are asked for the tokens after them.
   */
  @Test
  void secondHalvesBeginWithBosAndScoreAfterTheMiddle() {
    List<ScoredWindow> windows = Windows.secondHalves(stream(1100), 512, OptionalInt.of(9999));
    assertThat(windows).hasSize(2);
    ScoredWindow second = windows.get(1);
    assertThat(second.ids()).startsWith(9999, 513).endsWith(1023);
    assertThat(second.from()).isEqualTo(257);
    assertThat(second.scored()).isEqualTo(255);
    assertThat(Windows.secondHalves(stream(8), 8, OptionalInt.empty()).getFirst().ids())
        .startsWith(0, 1);
  }

  @Test
  void gptqModelJoinsLongRowsOnly() {
    String longLine = "a".repeat(600) + "\n";
    String text = "short\n" + longLine + "\n" + "b".repeat(511) + "\n" + longLine;
    TextData data = TextData.ofTexts("wikitext2", List.of(text), DataOptions.ALL);
    try (Tokenizer tokenizer =
        Tokenizer.load(SharedData.root().resolve("data/models/stories-qwen3"))) {
      List<ScoredWindow> windows =
          Windows.of(data, Optional.of(tokenizer), Protocol.GPTQMODEL, 4, 0);
      int[] joined = tokenizer.encode(longLine + "b".repeat(511) + "\n" + longLine);
      assertThat(windows).hasSize(joined.length / 4);
      assertThat(windows.getFirst().ids()).startsWith(joined[0], joined[1]);
    }
  }

  @Test
  void tooLittleDataIsRefused() {
    TextData data = TextData.ofIds("few", List.of(stream(3)), DataOptions.ALL);
    assertThatThrownBy(() -> Windows.of(data, Optional.empty(), Protocol.WINDOWS, 4, 0))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("few")
        .hasMessageContaining("window 4");
  }

  @Test
  void optionsAreChecked() {
    assertThatThrownBy(() -> new PerplexityOptions(Protocol.SLIDING, 4, 5))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new PerplexityOptions(Protocol.WINDOWS, 1, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> Protocol.of("wiki")).hasMessageContaining("llama.cpp");
    assertThat(PerplexityOptions.of(Protocol.LLAMA_CPP).filled(2048).window()).isEqualTo(512);
    assertThat(PerplexityOptions.of(Protocol.WINDOWS).filled(8192).window()).isEqualTo(2048);
    assertThat(PerplexityOptions.rows().filled(8192).window()).isEqualTo(8192);
    assertThat(PerplexityOptions.of(Protocol.SLIDING).filled(512).stride()).isEqualTo(256);
  }
}
