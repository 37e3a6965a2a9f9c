package org.nanomodel.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenStreamTest {
  private static List<String> pieces(Tokenizer tokenizer, int[] ids, boolean skipSpecial) {
    TokenStream stream = tokenizer.stream(skipSpecial);
    List<String> pieces = new ArrayList<>();
    for (int id : ids) {
      pieces.add(stream.add(id));
    }
    pieces.add(stream.finish());
    assertThat(stream.text()).isEqualTo(String.join("", pieces));
    return pieces;
  }

  private static void assertWhole(String piece) {
    assertThat(piece.isEmpty() || !Character.isLowSurrogate(piece.charAt(0))).isTrue();
    assertThat(piece.isEmpty() || !Character.isHighSurrogate(piece.charAt(piece.length() - 1)))
        .isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama2", "llama3", "qwen3", "stories3M"})
  void piecesJoinToTheDecodingOfAll(String name) throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TokenizerTest.golden(name))) {
      for (JsonNode row : TokenizerTest.cases(name)) {
        int[] ids = TokenizerTest.ids(row.get("ids"));
        for (boolean skip : new boolean[] {false, true}) {
          List<String> pieces = pieces(tokenizer, ids, skip);
          assertThat(String.join("", pieces)).isEqualTo(tokenizer.decode(ids, skip));
          pieces.forEach(TokenStreamTest::assertWhole);
        }
      }
    }
  }

  /** Random ids make broken UTF-8, runs of byte tokens, special tokens in odd places. */
  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama2", "qwen3", "stories3M"})
  void piecesOfRandomTokensJoinToTheDecodingOfAll(String name) {
    Random random = new Random(7);
    try (Tokenizer tokenizer = Tokenizer.load(TokenizerTest.golden(name))) {
      for (int round = 0; round < 300; round++) {
        int bound = round % 2 == 0 ? 300 : tokenizer.vocabSize();
        int[] ids = random.ints(40, 0, bound).toArray();
        boolean skip = round % 3 == 0;
        assertThat(String.join("", pieces(tokenizer, ids, skip)))
            .isEqualTo(tokenizer.decode(ids, skip));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama2", "qwen3"})
  void emojiSplitOverTokensComesWhole(String name) {
    try (Tokenizer tokenizer = Tokenizer.load(TokenizerTest.golden(name))) {
      String text = "a \uD83E\uDD84 b \u9F98 c";
      int[] ids = tokenizer.encode(text, false);
      List<String> pieces = pieces(tokenizer, ids, true);
      assertThat(pieces).noneMatch(piece -> piece.contains("\uFFFD"));
      assertThat(pieces.stream().filter(piece -> piece.contains("\uD83E\uDD84"))).hasSize(1);
      assertThat(pieces.getLast()).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama2", "qwen3"})
  void continuationKeepsItsFirstSpace(String name) {
    try (Tokenizer tokenizer = Tokenizer.load(TokenizerTest.golden(name))) {
      String text = "Once upon a time there was a very small cat";
      int[] ids = tokenizer.encode(text, true);
      int cut = ids.length - 3;
      TokenStream stream = tokenizer.stream(true, Arrays.copyOf(ids, cut));
      for (int i = cut; i < ids.length; i++) {
        stream.add(ids[i]);
      }
      assertThat(stream.finish()).isEmpty();
      assertThat(stream.text()).isEqualTo(" very small cat");
    }
  }

  @Test
  void wordsComeAtOnce() {
    try (Tokenizer tokenizer = TokenizerTest.bundled()) {
      int[] ids = tokenizer.encode("Once upon a time", false);
      assertThat(pieces(tokenizer, ids, true)).containsExactly("Once", " upon", " a", " time", "");
    }
  }

  @Test
  void stopStringIsFoundAcrossPieces() {
    StopScanner scanner = new StopScanner(List.of("\n\n", "END"));
    assertThat(scanner.push("a\n")).isEqualTo("a");
    assertThat(scanner.push("b E")).isEqualTo("\nb ");
    assertThat(scanner.push("N")).isEmpty();
    assertThat(scanner.push("X")).isEqualTo("ENX");
    assertThat(scanner.push("EN")).isEmpty();
    assertThat(scanner.push("D rest")).isEmpty();
    assertThat(scanner.stopped()).isTrue();
    assertThat(scanner.push("more")).isEmpty();
    assertThat(scanner.finish()).isEmpty();
  }

  @Test
  void theEarliestStopWins() {
    StopScanner scanner = new StopScanner(List.of("late", "o"));
    assertThat(scanner.push("no late")).isEqualTo("n");
  }

  @Test
  void textHeldBackIsGivenAtTheEnd() {
    StopScanner scanner = new StopScanner(List.of("aab"));
    assertThat(scanner.push("aa")).isEmpty();
    assertThat(scanner.push("a")).isEqualTo("a");
    assertThat(scanner.finish()).isEqualTo("aa");
    assertThatThrownBy(() -> new StopScanner(List.of("")))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
