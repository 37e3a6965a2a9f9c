package org.nanomodel.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.nanomodel.NanoModelException;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.tokenizer.Tokenizer;

/** The windows that each {@link Protocol} cuts from a text. */
final class Windows {
  /** GPTQModel's settings: rows of at least so many characters, the first so many of them. */
  private static final int WIKITEXT_CHARACTERS = 512;

  private static final int OTHER_CHARACTERS = 2048;
  private static final int ROWS = 1024;

  private Windows() {}

  static List<ScoredWindow> of(
      TextData data, Optional<Tokenizer> tokenizer, Protocol protocol, int window, int stride) {
    List<ScoredWindow> windows =
        switch (protocol) {
          case ROWS -> rows(data.rows(tokenizer, window));
          case WINDOWS -> cut(data.stream(tokenizer), window);
          case SLIDING -> sliding(data.stream(tokenizer), window, stride);
          case GPTQMODEL ->
              secondHalves(
                  gptqModelStream(data, tokenizer),
                  window,
                  tokenizer.map(Tokenizer::bosId).orElse(OptionalInt.empty()));
          case LLAMA_CPP -> secondHalves(data.stream(tokenizer), window, addedBos(data, tokenizer));
        };
    if (windows.stream().noneMatch(w -> w.scored() > 0)) {
      throw new NanoModelException(
          "Data '%s' has no token to score with protocol %s%s; give more text or a smaller window"
              .formatted(
                  data.name(), protocol, protocol == Protocol.ROWS ? "" : " and window " + window));
    }
    return windows;
  }

  static List<ScoredWindow> rows(List<int[]> rows) {
    return rows.stream().filter(row -> row.length > 1).map(ScoredWindow::whole).toList();
  }

  static List<ScoredWindow> cut(int[] stream, int window) {
    List<ScoredWindow> windows = new ArrayList<>();
    for (int at = 0; at + window <= stream.length; at += window) {
      windows.add(ScoredWindow.whole(Arrays.copyOfRange(stream, at, at + window)));
    }
    return windows;
  }

  static List<ScoredWindow> sliding(int[] stream, int window, int stride) {
    List<ScoredWindow> windows = new ArrayList<>();
    int scoredTo = 0;
    for (int at = 0; scoredTo < stream.length; at += stride) {
      int end = Math.min(at + window, stream.length);
      windows.add(
          new ScoredWindow(
              Arrays.copyOfRange(stream, at, end), Math.max(1, scoredTo - at), end - at));
      scoredTo = end;
    }
    return windows;
  }

  /**
   * Windows that begin with BOS in place of their first token, where there is one; scored after the
   * middle.
   */
  static List<ScoredWindow> secondHalves(int[] stream, int window, OptionalInt bos) {
    List<ScoredWindow> windows = new ArrayList<>();
    for (int at = 0; at + window <= stream.length; at += window) {
      int[] ids = Arrays.copyOfRange(stream, at, at + window);
      bos.ifPresent(id -> ids[0] = id);
      windows.add(new ScoredWindow(ids, window / 2 + 1, window));
    }
    return windows;
  }

  /** The BOS that the model's tokenizer puts before a text, if it does. */
  private static OptionalInt addedBos(TextData data, Optional<Tokenizer> tokenizer) {
    if (!data.isText() || tokenizer.isEmpty()) {
      return OptionalInt.empty();
    }
    int[] ids = tokenizer.get().encode("a");
    OptionalInt bos = tokenizer.get().bosId();
    boolean added = bos.isPresent() && ids.length > 0 && ids[0] == bos.getAsInt();
    return added ? bos : OptionalInt.empty();
  }

  private static int[] gptqModelStream(TextData data, Optional<Tokenizer> tokenizer) {
    if (!data.isText()) {
      return data.stream(tokenizer);
    }
    boolean wikitext = data.name().contains("wikitext");
    int least = wikitext ? WIKITEXT_CHARACTERS : OTHER_CHARACTERS;
    List<String> rows =
        data.texts().stream()
            .flatMap(text -> wikitext ? lines(text).stream() : List.of(text).stream())
            .filter(row -> row.length() >= least)
            .limit(ROWS)
            .toList();
    return TextData.ofTexts(data.name(), List.of(String.join("", rows)), DataOptions.ALL).stream(
        tokenizer);
  }

  /** The data set's rows are the lines of the file, each with its line end. */
  private static List<String> lines(String text) {
    List<String> lines = new ArrayList<>();
    for (int from = 0, end; from < text.length(); from = end) {
      int at = text.indexOf('\n', from);
      end = at < 0 ? text.length() : at + 1;
      lines.add(text.substring(from, end));
    }
    return lines;
  }
}
