package org.nanomodel.evaluate;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.List;
import java.util.Optional;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.data.TextData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * A text as a protocol cuts it for a model.
 *
 * @param options without zeros
 */
record ScoredText(PerplexityOptions options, List<ScoredWindow> windows) {

  /** Refuses windows that are longer than the model's context. */
  static ScoredText of(
      TextData data, CausalModel model, Optional<Tokenizer> tokenizer, PerplexityOptions options) {
    int context = model.config().maxPositions();
    PerplexityOptions filled = options.filled(context);
    ScoredText text =
        new ScoredText(
            filled,
            Windows.of(data, tokenizer, filled.protocol(), filled.window(), filled.stride()));
    if (text.longest() > context) {
      throw new NanoModelException(
          "Data '%s': %d tokens together, but the model's context is %d; use %s"
              .formatted(
                  data.name(),
                  text.longest(),
                  context,
                  filled.protocol() == Protocol.ROWS
                      ? "--seq-len " + context + " to cut the rows"
                      : "a smaller window"));
    }
    return text;
  }

  int longest() {
    return windows.stream().mapToInt(w -> w.ids().length).max().orElse(0);
  }

  /** Tokens that pass through the model. */
  long toRun() {
    return windows.stream().mapToLong(w -> w.to() - 1).sum();
  }

  long scored() {
    return windows.stream().mapToLong(ScoredWindow::scored).sum();
  }

  /** Room for a figure of each scored position. */
  List<double[]> figures() {
    return windows.stream().map(w -> new double[w.scored()]).toList();
  }

  /** Where the rows of each window begin, all scored positions counted through. */
  long[] firstRows() {
    long[] first = new long[windows.size()];
    for (int i = 1; i < first.length; i++) {
      first[i] = first[i - 1] + windows.get(i - 1).scored();
    }
    return first;
  }

  /** SHA-256 over the windows: equal where the same tokens are scored after the same context. */
  String fingerprint() {
    MessageDigest digest = DurableFiles.sha256();
    for (ScoredWindow w : windows) {
      ByteBuffer bytes = ByteBuffer.allocate(4 * (w.ids().length + 3));
      bytes.putInt(w.ids().length).putInt(w.from()).putInt(w.to());
      bytes.asIntBuffer().put(w.ids());
      digest.update(bytes.array());
    }
    return DurableFiles.hex(digest);
  }
}
