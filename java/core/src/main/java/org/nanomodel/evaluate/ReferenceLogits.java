package org.nanomodel.evaluate;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.DoubleConsumer;
import org.nanomodel.NanoModelException;
import org.nanomodel.data.TextData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.Sampling;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * A model's predictions at the scored positions of a text, in a file, so that many variants are
 * compared with an original that runs once. A safetensors file with {@code log_probs} F16
 * [positions, V], natural logarithms; {@code nll} F64 and {@code top} I32 [positions], which hold
 * exactly what rounding to F16 would blur: -log p of the token that came, and the likeliest token.
 * The metadata names the model, the data and the protocol, each with a hash.
 */
public final class ReferenceLogits implements AutoCloseable {
  private static final String LAYOUT = "nanomodel-reference-logits-1";
  private static final String LOG_PROBS = "log_probs";
  private static final String NLL = "nll";
  private static final String TOP = "top";

  private final SafetensorsFile file;

  private ReferenceLogits(SafetensorsFile file) {
    this.file = file;
  }

  /** Opens a file that {@link #record} wrote. */
  public static ReferenceLogits open(Path path) {
    SafetensorsFile file = SafetensorsFile.open(path);
    try {
      String layout = file.metadata().get("layout");
      if (!LAYOUT.equals(layout)) {
        throw new NanoModelException(
            path + ": layout " + layout + ", expected " + LAYOUT + ": no reference logits");
      }
      var logits = file.tensor(LOG_PROBS);
      long rows = logits.dim(0);
      require(path, logits.dtype() == DType.F16 && logits.rank() == 2);
      require(path, file.tensor(NLL).dtype() == DType.F64 && file.tensor(NLL).elements() == rows);
      require(path, file.tensor(TOP).dtype() == DType.I32 && file.tensor(TOP).elements() == rows);
      return new ReferenceLogits(file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private static void require(Path path, boolean right) {
    if (!right) {
      throw new NanoModelException(
          path
              + ": tensors are not those of reference logits, expected log_probs F16 [positions,"
              + " V], nll F64 and top I32 [positions]");
    }
  }

  /**
   * Runs a model over the data and writes the file, which appears when it is whole.
   *
   * @param model its identity, in words and as a hash
   * @param cancel ends the run with a {@link org.nanomodel.CancelledException}; may be null
   * @param progress gets the part that is done, 0 to 1
   */
  public static void record(
      Path path,
      CausalModel graph,
      Optional<Tokenizer> tokenizer,
      Identity model,
      TextData data,
      PerplexityOptions options,
      Cancel cancel,
      DoubleConsumer progress) {
    ScoredText text = ScoredText.of(data, graph, tokenizer, options);
    int vocab = graph.config().vocabSize();
    var plan =
        List.of(
            new TensorSpec(LOG_PROBS, DType.F16, text.scored(), vocab),
            new TensorSpec(NLL, DType.F64, text.scored()),
            new TensorSpec(TOP, DType.I32, text.scored()));
    try (var writer = SafetensorsWriter.create(path, plan, metadata(model, data, text));
        var runner = new WindowRunner(List.of(graph), cancel, text.longest(), true);
        var arena = Arena.ofShared()) {
      var recorder = new Recorder(arena, text, runner, vocab);
      writer.put(LOG_PROBS, out -> recorder.run(out, progress));
      writer.put(NLL, recorder.nll.segment());
      writer.put(TOP, recorder.top.segment());
      writer.finish();
    }
  }

  /**
   * A model, for the file to say and to check.
   *
   * @param name in words
   * @param sha256 over what its predictions depend on
   */
  public record Identity(String name, String sha256) {}

  private static Map<String, String> metadata(Identity model, TextData data, ScoredText text) {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put("layout", LAYOUT);
    metadata.put("model", model.name());
    metadata.put("model_sha256", model.sha256());
    metadata.put("data", data.name());
    metadata.put("protocol", text.options().protocol().value());
    metadata.put("window", Integer.toString(text.options().window()));
    metadata.put("stride", Integer.toString(text.options().stride()));
    metadata.put("tokens_sha256", text.fingerprint());
    return metadata;
  }

  public Path path() {
    return file.path();
  }

  /** The model that made these predictions. */
  public Identity model() {
    return new Identity(file.metadata().get("model"), file.metadata().get("model_sha256"));
  }

  int vocab() {
    return Math.toIntExact(file.tensor(LOG_PROBS).dim(1));
  }

  /** Refuses predictions of another model. */
  public void requireModel(Identity wanted) {
    if (!wanted.sha256().equals(model().sha256())) {
      throw new NanoModelException(
          "%s: holds the predictions of another model ('%s'), expected those of '%s'; remove it to make it anew"
              .formatted(path(), model().name(), wanted.name()));
    }
  }

  /** Refuses predictions at other positions, or after other tokens. */
  void requireFor(ScoredText text) {
    Map<String, String> stored = file.metadata();
    if (!text.fingerprint().equals(stored.get("tokens_sha256"))
        || file.tensor(LOG_PROBS).dim(0) != text.scored()) {
      throw new NanoModelException(
          "%s: holds predictions for other tokens (data '%s', protocol %s, window %s, stride %s); use the same data and protocol, or remove it to make it anew"
              .formatted(
                  path(),
                  stored.get("data"),
                  stored.get("protocol"),
                  stored.get("window"),
                  stored.get("stride")));
    }
  }

  Reader reader(ScoredText text, int maxRows) {
    return new Reader(text.firstRows(), maxRows);
  }

  @Override
  public void close() {
    file.close();
  }

  /** The stored rows of a step. */
  final class Reader {
    private final long[] firstRows;
    private final Tensor halves;
    private final Tensor logits;
    private final Tensor nll;
    private final int[] top;
    private int rows;

    private Reader(long[] firstRows, int maxRows) {
      this.firstRows = firstRows;
      Arena arena = Arena.ofAuto();
      halves = Tensor.allocate(arena, DataType.F16, maxRows, vocab());
      logits = Tensor.allocate(arena, DataType.F32, maxRows, vocab());
      nll = Tensor.allocate(arena, DataType.F64, maxRows);
      top = new int[maxRows];
    }

    /** Log probabilities F32 [rows, V], valid until the next call. */
    Tensor read(Ops ops, List<WindowRunner.Piece> pieces) {
      long rowBytes = 2L * vocab();
      rows = 0;
      for (WindowRunner.Piece piece : pieces) {
        long from = firstRows[piece.window()] + piece.first();
        long bytes = piece.rows() * rowBytes;
        MemorySegment.copy(
            file.segment(LOG_PROBS), from * rowBytes, halves.segment(), rows * rowBytes, bytes);
        for (int i = 0; i < piece.rows(); i++, rows++) {
          nll.segment()
              .setAtIndex(
                  ValueLayout.JAVA_DOUBLE,
                  rows,
                  file.segment(NLL).getAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, from + i));
          top[rows] = file.segment(TOP).getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, from + i);
        }
      }
      ops.convert(logits.rows(0, rows), halves.rows(0, rows));
      return logits.rows(0, rows);
    }

    int rows() {
      return rows;
    }

    Tensor nll() {
      return nll;
    }

    int top(int row) {
      return top[row];
    }
  }

  /** Writes the rows of a run as they come, in the order of the positions. */
  private static final class Recorder {
    private final ScoredText text;
    private final WindowRunner runner;
    private final int vocab;
    private final Tensor halves;
    private final Scores scores;
    private final Tensor topNll;
    final Tensor nll;
    final Tensor top;
    private int done;

    Recorder(Arena arena, ScoredText text, WindowRunner runner, int vocab) {
      this.text = text;
      this.runner = runner;
      this.vocab = vocab;
      int rows = runner.maxRows();
      halves = Tensor.allocate(arena, DataType.F16, rows, vocab);
      topNll = Tensor.allocate(arena, DataType.F64, rows);
      scores = new Scores(rows);
      nll = Tensor.allocate(arena, DataType.F64, text.scored());
      top = Tensor.allocate(arena, DataType.I32, text.scored());
    }

    void run(WritableByteChannel out, DoubleConsumer progress) {
      runner.run(
          text.windows(),
          (pieces, logits, targets) -> {
            try {
              write(out, logits.getFirst(), targets);
            } catch (IOException e) {
              throw new NanoModelException("cannot write reference logits: " + e.getMessage(), e);
            }
          },
          tokens -> progress.accept((double) tokens / text.toRun()));
    }

    private void write(WritableByteChannel out, Tensor logits, Tensor targets) throws IOException {
      int n = (int) logits.rows();
      Ops ops = runner.ops();
      Tensor likeliest = top.rows(done, n);
      MemorySegment.copy(
          scores.of(ops, logits, targets).segment(), 0, nll.segment(), 8L * done, 8L * n);
      ops.sample(likeliest, logits, Sampling.GREEDY, null, null);
      ops.nll(topNll.rows(0, n), logits, likeliest);
      for (int r = 0; r < n; r++) {
        normalize(logits, r, likeliest.segment().getAtIndex(ValueLayout.JAVA_INT, r));
      }
      Tensor rows = halves.rows(0, n);
      ops.convert(rows, logits);
      var bytes = rows.segment().asSlice(0, 2L * n * vocab).asByteBuffer();
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      done += n;
    }

    /** Logits to log probabilities: the likeliest token's is known, the others follow. */
    private void normalize(Tensor logits, int row, int likeliest) {
      MemorySegment x = logits.segment();
      long at = (long) row * vocab;
      double largest = x.getAtIndex(ValueLayout.JAVA_FLOAT, at + likeliest);
      double shift = -topNll.segment().getAtIndex(ValueLayout.JAVA_DOUBLE, row) - largest;
      for (long i = at; i < at + vocab; i++) {
        float value = x.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        x.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) (value + shift));
      }
    }
  }
}
