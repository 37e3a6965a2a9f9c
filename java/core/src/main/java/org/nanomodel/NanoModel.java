package org.nanomodel;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.checkpoint.CheckpointFiles;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.PerplexityResult;
import org.nanomodel.events.LoadEvent;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.Request;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.model.Scorer;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.quantize.QuantizeJob;
import org.nanomodel.quantize.QuantizeListener;
import org.nanomodel.quantize.QuantizeResult;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;
import org.nanomodel.tokenizer.StopScanner;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * A model and what one does with it. It stands on a directory, whose weights are loaded at the
 * first use; quantizing writes another directory, layer by layer, on which the model stands from
 * then on. So a model that is quantized and saved is never in memory as a whole.
 *
 * <p>May be used by several threads; steps run one after another. After {@link #close} every use is
 * an {@link IllegalStateException}.
 */
public final class NanoModel implements AutoCloseable {
  private final Engine engine;
  private final Optional<QuantizeConfig> quantizeConfig;
  private ModelDirectory directory;
  private Config config;
  private CausalModel graph;
  private Optional<Tokenizer> tokenizer;
  private Path work;
  private boolean quantized;
  private boolean closed;

  private NanoModel(Engine engine, Path path, Optional<QuantizeConfig> quantizeConfig) {
    this.engine = engine;
    this.quantizeConfig = quantizeConfig;
    this.directory = ModelDirectory.open(path, engine);
    try {
      this.config = directory.config();
      directory.requireReadable();
    } catch (RuntimeException e) {
      directory.close();
      throw e;
    }
  }

  static NanoModel open(Path path, Optional<QuantizeConfig> config, EngineOptions options) {
    Engine engine = Engine.open(options);
    try {
      return new NanoModel(engine, path, config);
    } catch (RuntimeException | Error e) {
      engine.close();
      throw e;
    }
  }

  /** The directory it stands on. */
  public synchronized ModelDirectory directory() {
    checkOpen();
    return directory;
  }

  public synchronized Config config() {
    checkOpen();
    return config;
  }

  /** What it is to be quantized with, or was. */
  public Optional<QuantizeConfig> quantizeConfig() {
    return quantizeConfig;
  }

  public synchronized Engine engine() {
    checkOpen();
    return engine;
  }

  /** Empty for a model without a tokenizer, which works with ids. */
  public synchronized Optional<Tokenizer> tokenizer() {
    checkOpen();
    if (tokenizer == null) {
      tokenizer = Tokenizer.find(directory.path());
    }
    return tokenizer;
  }

  /**
   * The graph with its weights, loaded now if they were not. It is the model's own: do not close
   * it.
   */
  public synchronized CausalModel graph() {
    checkOpen();
    if (graph == null) {
      var event = new LoadEvent();
      event.begin();
      graph = CausalModel.load(engine, config, directory);
      record(event);
    }
    return graph;
  }

  private void record(LoadEvent event) {
    event.end();
    if (event.shouldCommit()) {
      event.model = directory.path().toString();
      event.layers = config.layers();
      event.bytes = graph.bytes();
      event.device = engine.device().toString();
      event.tier = engine.tier();
      event.threads = engine.threads();
      event.commit();
    }
  }

  /** Continues a text, greedily, up to the default number of tokens; the new text only. */
  public String generate(String prompt) {
    return generate(prompt, GenerateOptions.defaults());
  }

  /** Continues a text; the new text only, up to the first stop text. */
  public String generate(String prompt, GenerateOptions options) {
    var text = new StringBuilder();
    generate(requireTokenizer().encode(prompt), options, text);
    return text.toString();
  }

  /** Continues tokens. Stop texts need a tokenizer. */
  public GenerateResult generate(int[] ids, GenerateOptions options) {
    return options.stop().isEmpty()
        ? new Generator(graph()).generate(ids, options)
        : generate(ids, options, new StringBuilder());
  }

  /** Continues tokens up to the first stop text; the text before it goes to {@code text}. */
  private GenerateResult generate(int[] ids, GenerateOptions options, StringBuilder text) {
    var stream = requireTokenizer().stream(true, ids);
    var stops = new StopScanner(options.stop());
    var request =
        new Request(
            ids,
            options,
            id -> {
              text.append(stops.push(stream.add(id)));
              return !stops.stopped();
            },
            new Cancel());
    var result = new Generator(graph()).generate(request);
    text.append(stops.push(stream.finish())).append(stops.finish());
    return result;
  }

  private Tokenizer requireTokenizer() {
    return tokenizer()
        .orElseThrow(() ->
            new NanoModelException(
                directory().path() + " has no tokenizer.json: give token ids instead of text"));
  }

  /**
   * The logits of every position, F32 [T, V]; memory of their own, freed when no longer reachable.
   */
  public Tensor logits(int[] ids) {
    int vocab = config().vocabSize();
    Tensor all = Tensor.allocate(Arena.ofAuto(), DataType.F32, ids.length, vocab);
    try (var scorer = new Scorer(graph(), engine.ops(), Math.max(1, ids.length))) {
      scorer.run(
          ids,
          (first, rows) -> {
            for (long r = 0; r < rows.rows(); r++) {
              MemorySegment row = rows.rows(r, 1).segment();
              MemorySegment.copy(row, 0, all.segment(), 4L * vocab * (first + r), 4L * vocab);
            }
          });
    }
    return all;
  }

  /** Perplexity over {@code data}. */
  public PerplexityResult perplexity(TextData data, PerplexityOptions options) {
    return new Perplexity(graph(), tokenizer()).run(data, options);
  }

  /** Quantizes with a method that needs no calibration; see {@link #quantize(TextData)}. */
  public QuantizeResult quantize() {
    return quantize(null);
  }

  /**
   * Quantizes into a working directory, from which {@link #save} copies; it is removed by {@link
   * #close}. It lies in {@code -Dnanomodel.work}, else in the system's directory for temporary
   * files, and takes as much room as the checkpoint, twice while the job ends. For a large model
   * give the directory at once: {@link #quantize(TextData, Path, QuantizeListener)}.
   *
   * @param calibration not read by round to nearest, and may be null
   */
  public synchronized QuantizeResult quantize(TextData calibration) {
    requireConfig();
    try {
      String parent = System.getProperty("nanomodel.work", System.getProperty("java.io.tmpdir"));
      Path made = Files.createTempDirectory(Files.createDirectories(Path.of(parent)), "nanomodel-");
      try {
        var result = quantize(calibration, made.resolve("model"), QuantizeListener.NONE);
        work = made;
        return result;
      } finally {
        if (work == null) {
          DurableFiles.deleteTree(made);
        }
      }
    } catch (IOException e) {
      throw new NanoModelException("cannot make a working directory: " + e, e);
    }
  }

  /**
   * Quantizes straight into {@code output}, where the job can be taken up again after an
   * interruption. From then on the model stands on that directory and runs with the quantized
   * weights.
   *
   * @param calibration not read by round to nearest, and may be null
   */
  public synchronized QuantizeResult quantize(
      TextData calibration, Path output, QuantizeListener listener) {
    var job = QuantizeJob.of(directory(), requireConfig(), engine, output).listener(listener);
    var result = job.run();
    standOn(result.output());
    quantized = true;
    return result;
  }

  private QuantizeConfig requireConfig() {
    checkOpen();
    if (quantized) {
      throw new NanoModelException("the model is quantized already");
    }
    return quantizeConfig.orElseThrow(() ->
        new NanoModelException(
            "the model was loaded without a QuantizeConfig: use AutoNanoModel.load(path, config)"));
  }

  private void standOn(Path path) {
    var next = ModelDirectory.open(path, engine);
    if (graph != null) {
      graph.close();
      graph = null;
    }
    directory.close();
    directory = next;
    config = next.config();
  }

  /**
   * Copies the checkpoint it stands on into a new directory; it appears there whole or not at all.
   */
  public synchronized void save(Path output) {
    checkOpen();
    if (quantizeConfig.isPresent() && !quantized) {
      throw new NanoModelException(
          "the model is not quantized yet: call quantize first, then save");
    }
    CheckpointFiles.copy(directory, output);
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the model is closed");
    }
  }

  /** Frees everything; waits for calls in flight. Closing again does nothing. */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (graph != null) {
      graph.close();
    }
    if (tokenizer != null) {
      tokenizer.ifPresent(Tokenizer::close);
    }
    directory.close();
    engine.close();
    if (work != null) {
      DurableFiles.deleteTree(work);
    }
  }
}
