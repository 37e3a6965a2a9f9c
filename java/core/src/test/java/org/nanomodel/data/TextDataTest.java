package org.nanomodel.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tokenizer.Tokenizer;

class TextDataTest {
  private static final int END = 2045; // <|endoftext|> of stories-qwen3

  @TempDir private Path directory;

  private TextData open(String name, String content, DataOptions options) throws IOException {
    Path file = directory.resolve(name);
    Files.writeString(file, content);
    return TextData.open(file.toString(), options);
  }

  private static Tokenizer tokenizer() {
    return Tokenizer.load(SharedData.root().resolve("data/models/stories-qwen3"));
  }

  @Test
  void textFileIsOneDocumentAsItIs() throws IOException {
    TextData data = open("a.txt", " one\n\ntwo \n", DataOptions.ALL);
    assertThat(data.isText()).isTrue();
    assertThat(data.texts()).containsExactly(" one\n\ntwo \n");
  }

  @Test
  void separatorSplitsAndStrips() throws IOException {
    DataOptions options = DataOptions.ALL.withSeparator("---");
    assertThat(open("a.txt", "one\n---\n two\n---\n\n---three", options).texts())
        .containsExactly("one", "two", "three");
  }

  @Test
  void bundledStoriesAreEnclosedAsInTraining() {
    TextData data = TextData.open("stories-eval", DataOptions.ALL);
    assertThat(data.size()).isEqualTo(134);
    try (Tokenizer tokenizer = tokenizer()) {
      List<int[]> rows = data.rows(Optional.of(tokenizer), 512);
      for (int[] row : rows) {
        assertThat(row).startsWith(END);
        assertThat(row.length == 512 || row[row.length - 1] == END).isTrue();
      }
      int[] stream = data.stream(Optional.of(tokenizer));
      assertThat(stream).startsWith(END).endsWith(END);
      long ends = Arrays.stream(stream).filter(id -> id == END).count();
      assertThat(ends).isEqualTo(135);
    }
  }

  @Test
  void linesOfTextAndLinesOfIds() throws IOException {
    assertThat(
            open("a.jsonl", "{\"text\":\"x\"}\n\n{\"text\":\"y\",\"n\":1}\n", DataOptions.ALL)
                .texts())
        .containsExactly("x", "y");
    TextData ids = open("b.jsonl", "[1,2,3]\n{\"input_ids\":[4]}\n", DataOptions.ALL);
    assertThat(ids.isText()).isFalse();
    assertThat(ids.rows(Optional.empty(), 2)).containsExactly(new int[] {1, 2, 3}, new int[] {4});
    assertThat(ids.stream(Optional.empty())).containsExactly(1, 2, 3, 4);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"messages\":[]}|messages is empty",
        "{\"messages\":[{\"content\":\"x\"}]}|expected an object with a role",
        "{\"txt\":1}|expected text, messages",
        "3|expected text, messages",
        "{|not JSON",
        "[1] [2]|not JSON",
        "[1,-2]|id 1 is -2",
        "[1.5]|id 0 is 1.5",
        "[99999999999]|id 0 is 99999999999",
      })
  void badLinesAreRefusedWithTheirNumber(String line, String expected) {
    assertThatThrownBy(() -> open("a.jsonl", "[7]\n" + line, DataOptions.ALL))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("a.jsonl:2")
        .hasMessageContaining(expected);
  }

  @Test
  void textAndIdsDoNotMix() {
    assertThatThrownBy(() -> open("a.jsonl", "[7]\n{\"text\":\"a\"}", DataOptions.ALL))
        .hasMessageContaining("1 lines of text, 0 of messages and 1 of ids");
  }

  @Test
  void messagesGoThroughTheModelsTemplate() throws IOException {
    String line = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi <|im_end|>\"}]}\n";
    TextData data = open("c.jsonl", line + line, DataOptions.ALL);
    assertThat(data.size()).isEqualTo(2);
    try (Tokenizer tokenizer =
        Tokenizer.load(SharedData.root().resolve("data/models/stories-qwen3"))) {
      List<int[]> rows = data.rows(Optional.of(tokenizer), 512);
      assertThat(tokenizer.decode(rows.get(1), false))
          .isEqualTo("<|im_start|>user\nHi <|im_end|><|im_end|>\n");
      assertThat(rows.get(1)).containsOnlyOnce(2047); // the user's <|im_end|> is text
      assertThat(data.stream(Optional.of(tokenizer))).hasSize(2 * rows.get(1).length);
    }
    assertThatThrownBy(() -> data.rows(Optional.empty(), 512)).hasMessageContaining("tokenizer");
  }

  @ParameterizedTest
  @CsvSource({"I32", "I64"})
  void idsOfASafetensorsFile(DType type) {
    Path file = directory.resolve("ids.safetensors");
    MemorySegment data =
        type == DType.I32
            ? MemorySegment.ofArray(new int[] {1, 2, 3, 4, 5, 6})
            : MemorySegment.ofArray(new long[] {1, 2, 3, 4, 5, 6});
    write(file, new TensorSpec("input_ids", type, 2, 3), data);
    TextData ids = TextData.open(file.toString(), DataOptions.ALL);
    assertThat(ids.rows(Optional.empty(), 8))
        .containsExactly(new int[] {1, 2, 3}, new int[] {4, 5, 6});
  }

  @Test
  void otherTensorsAreRefused() {
    Path file = directory.resolve("ids.safetensors");
    write(file, new TensorSpec("input_ids", DType.F32, 1, 1), MemorySegment.ofArray(new float[1]));
    assertThatThrownBy(() -> TextData.open(file.toString(), DataOptions.ALL))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("I32 or I64");
    write(file, new TensorSpec("ids", DType.I32, 1, 1), MemorySegment.ofArray(new int[1]));
    assertThatThrownBy(() -> TextData.open(file.toString(), DataOptions.ALL))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("input_ids");
  }

  private static void write(Path file, TensorSpec spec, MemorySegment data) {
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, List.of(spec))) {
      writer.put(spec.name(), data);
      writer.finish();
    }
  }

  @Test
  void samplesAreTheFirstOnesOrDrawnBySeed() throws IOException {
    String lines = "[0]\n[1]\n[2]\n[3]\n[4]\n[5]\n[6]\n[7]\n[8]\n[9]\n";
    DataOptions three = DataOptions.ALL.withSamples(3);
    assertThat(open("a.jsonl", lines, three).stream(Optional.empty())).containsExactly(0, 1, 2);
    int[] drawn = open("a.jsonl", lines, three.withSeed(5L)).stream(Optional.empty());
    assertThat(drawn).hasSize(3).isSorted().isNotEqualTo(new int[] {0, 1, 2});
    assertThat(open("a.jsonl", lines, three.withSeed(5L)).stream(Optional.empty()))
        .isEqualTo(drawn);
  }

  @Test
  void rowsAreCutOnlyWhereAsked() throws IOException {
    String lines = "[1,2,3,4]\n[5,6,7,8]\n[9]\n";
    assertThat(open("a.jsonl", lines, DataOptions.ALL).rows(Optional.empty(), 2))
        .hasSize(3)
        .allSatisfy(row -> assertThat(row.length).isIn(4, 1));
    assertThat(open("a.jsonl", lines, DataOptions.ALL.withSeqLen(3)).rows(Optional.empty(), 9))
        .containsExactly(new int[] {1, 2, 3}, new int[] {5, 6, 7}, new int[] {9});
    TextData limited = open("a.jsonl", lines, DataOptions.ALL.withLimitTokens(6));
    assertThat(limited.rows(Optional.empty(), 9))
        .containsExactly(new int[] {1, 2, 3, 4}, new int[] {5, 6});
    assertThat(limited.stream(Optional.empty())).containsExactly(1, 2, 3, 4, 5, 6);
  }

  @Test
  void documentsOfTextAreCutToTheContextAndJoinedByAnEmptyLine() throws IOException {
    TextData data =
        open("a.jsonl", "{\"text\":\"Once upon a time\"}\n{\"text\":\"The end\"}", DataOptions.ALL);
    try (Tokenizer tokenizer = tokenizer()) {
      assertThat(data.rows(Optional.of(tokenizer), 2).getFirst()).containsExactly(417, 433);
      assertThat(tokenizer.decode(data.stream(Optional.of(tokenizer)), false))
          .isEqualTo("Once upon a time\n\nThe end");
    }
  }

  @Test
  void whatIsMissingIsSaidWithWhatThereIs() throws IOException {
    assertThatThrownBy(() -> TextData.open("no-such-text", DataOptions.ALL))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("no such file")
        .hasMessageContaining("stories-calib, stories-eval");
    assertThatThrownBy(() -> TextData.open(directory.toString(), DataOptions.ALL))
        .hasMessageContaining("is a directory");
    Files.write(directory.resolve("bad.txt"), new byte[] {(byte) 0xff, 'a'});
    assertThatThrownBy(
            () -> TextData.open(directory.resolve("bad.txt").toString(), DataOptions.ALL))
        .hasMessageContaining("not UTF-8");
    TextData text = open("a.txt", "words", DataOptions.ALL);
    assertThatThrownBy(() -> text.rows(Optional.empty(), 8))
        .hasMessageContaining("no tokenizer.json");
  }
}
