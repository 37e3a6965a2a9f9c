package org.nanomodel.cli;

import java.util.List;
import org.nanomodel.tokenizer.StopScanner;
import org.nanomodel.tokenizer.TokenStream;
import org.nanomodel.tokenizer.Tokenizer;

/** The text of new tokens, printed as far as it cannot be part of a stop string. */
final class TextOut {
  private final Console console;
  private final TokenStream stream;
  private final StopScanner stops;
  private final StringBuilder all = new StringBuilder();

  TextOut(Console console, Tokenizer tokenizer, int[] prompt, List<String> stop) {
    this.console = console;
    this.stream = tokenizer.stream(true, prompt);
    this.stops = new StopScanner(stop);
  }

  /** Whether to go on. */
  boolean add(int id) {
    emit(stops.push(stream.add(id)));
    return !stops.stopped();
  }

  void finish() {
    emit(stops.push(stream.finish()) + stops.finish());
  }

  /** All of it so far. */
  String text() {
    return all.toString();
  }

  private void emit(String piece) {
    all.append(piece);
    console.write(piece);
  }
}
