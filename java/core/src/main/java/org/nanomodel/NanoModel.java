package org.nanomodel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.nanomodel.checkpoint.CheckpointFiles;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.PerplexityResult;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generation;
import org.nanomodel.generate.GenerationLoop;
import org.nanomodel.generate.Request;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.model.Embedder;
import org.nanomodel.model.Scorer;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.quantize.Calibration;
import org.nanomodel.quantize.QuantizeJob;
import org.nanomodel.quantize.QuantizeListener;
import org.nanomodel.quantize.QuantizeResult;
import org.nanomodel.tensor.Tensor;
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
  private final OpenModel model;
  private final Optional<QuantizeConfig> quantizeConfig;
  private boolean quantized;

  private NanoModel(OpenModel model, Optional<QuantizeConfig> quantizeConfig) {
    this.model = model;
    this.quantizeConfig = quantizeConfig;
  }

  static NanoModel open(
      Path path, Optional<QuantizeConfig> config, EngineOptions options, Adapter adapter) {
    return new NanoModel(OpenModel.open(path, options, adapter), config);
  }

  /** The directory it stands on. */
  public ModelDirectory directory() {
    return model.directory();
  }

  public Config config() {
    return model.config();
  }

  /** What it is to be quantized with, or was. */
  public Optional<QuantizeConfig> quantizeConfig() {
    return quantizeConfig;
  }

  public Engine engine() {
    return model.engine();
  }

  /** Empty for a model without a tokenizer, which works with ids. */
  public Optional<Tokenizer> tokenizer() {
    return model.tokenizer();
  }

  /**
   * The graph with its weights, loaded now if they were not. It is the model's own: do not close
   * it.
   */
  public CausalModel graph() {
    return model.graph();
  }

  /** What answers all requests, started now if it was not. It is the model's own. */
  public GenerationLoop loop() {
    return model.loop();
  }

  /** Continues a text, greedily, up to the default number of tokens; the new text only. */
  public String generate(String prompt) {
    return generate(prompt, GenerateOptions.defaults());
  }

  /**
   * Continues a text; the new text only, up to the first stop text. An interrupted thread gets what
   * there is so far, and keeps its flag.
   */
  public String generate(String prompt, GenerateOptions options) {
    return generateResult(prompt, options).text();
  }

  /**
   * Continues a text, and tells more than the new text: tokens, reason, times, log probabilities.
   */
  public GenerateResult generateResult(String prompt, GenerateOptions options) {
    return resultOf(submit(prompt, options));
  }

  /** Continues tokens. Stop texts need a tokenizer. */
  public GenerateResult generate(int[] ids, GenerateOptions options) {
    return resultOf(submit(Request.of(ids, options)));
  }

  /** A text that {@link #close} cut off is not handed out as if it were whole. */
  private GenerateResult resultOf(Generation generation) {
    GenerateResult result = generation.result();
    if (result.finishReason() == FinishReason.CANCEL) {
      model.checkOpen();
    }
    return result;
  }

  /**
   * Continues texts in one batch. The results have the order of the prompts; with {@link
   * GenerateOptions#n} answers there are n results for each.
   */
  public List<GenerateResult> generate(List<String> prompts, GenerateOptions options) {
    var requests = prompts.stream().map(p -> Request.of(encode(p), options)).toList();
    var answers = new ArrayList<Generation>();
    try {
      requests.forEach(r -> answers.addAll(loop().submitAll(r)));
      return answers.stream().map(this::resultOf).toList();
    } finally {
      answers.forEach(Generation::close); // where one failed, nobody waits for the others
    }
  }

  /**
   * Starts to continue a text and returns at once: read the text as it comes, wait for the result,
   * or cancel. Requests that run at the same time share a batch; none changes another's text.
   */
  public Generation submit(String prompt, GenerateOptions options) {
    return submit(Request.of(encode(prompt), options));
  }

  /** The same with all that a request can have; see {@link GenerationLoop#submit}. */
  public Generation submit(Request request) {
    return loop().submit(request);
  }

  /** Continues a text and passes it on in whole characters as it comes, on the calling thread. */
  public GenerateResult stream(String prompt, GenerateOptions options, Consumer<String> listener) {
    try (Generation generation = submit(prompt, options)) {
      generation.forEach(listener);
      return resultOf(generation);
    }
  }

  /** Ids of a text with the special tokens that the model expects around it. */
  public int[] encode(String text) {
    return requireTokenizer().encode(text);
  }

  /** The text of ids, without special tokens. */
  public String decode(int... ids) {
    return requireTokenizer().decode(ids, true);
  }

  /** How many tokens {@link #encode} makes of a text. */
  public int tokenCount(String text) {
    return encode(text).length;
  }

  /** A text as a vector of the model's hidden size; see {@link #embed(List, Pooling, boolean)}. */
  public float[] embed(String text, Pooling pooling) {
    return embed(List.of(text), pooling, false).getFirst();
  }

  /**
   * Texts as vectors: the hidden states after the last norm, pooled over the tokens.
   *
   * @param normalized whether each is scaled to length 1
   */
  public List<float[]> embed(List<String> texts, Pooling pooling, boolean normalized) {
    var graph = graph();
    List<int[]> ids = texts.stream().map(this::encode).toList();
    return new Embedder(graph, graph.engine().ops()).embed(ids, pooling, normalized);
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
    try (var scorer = new Scorer(graph(), engine().ops(), Math.max(1, ids.length))) {
      return scorer.logits(ids);
    }
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
  public QuantizeResult quantize(TextData calibration) {
    return model.changing(() -> quantizeInPlace(calibration));
  }

  private QuantizeResult quantizeInPlace(TextData calibration) {
    requireConfig();
    try {
      String parent = System.getProperty("nanomodel.work", System.getProperty("java.io.tmpdir"));
      Path made = Files.createTempDirectory(Files.createDirectories(Path.of(parent)), "nanomodel-");
      try {
        var result = quantize(calibration, made.resolve("model"), QuantizeListener.NONE);
        model.removeAtClose(made);
        return result;
      } catch (RuntimeException | Error e) {
        DurableFiles.deleteTree(made);
        throw e;
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
  public QuantizeResult quantize(TextData calibration, Path output, QuantizeListener listener) {
    return model.changing(() -> quantizeInto(calibration, output, listener));
  }

  private QuantizeResult quantizeInto(
      TextData calibration, Path output, QuantizeListener listener) {
    var quantizeConfig = requireConfig();
    var job = QuantizeJob.of(directory(), quantizeConfig, engine(), output).listener(listener);
    if (calibration != null && quantizeConfig.isCalibrated()) {
      job.calibration(Calibration.of(calibration, tokenizer(), config()));
    }
    var result = job.run();
    model.standOn(result.output());
    quantized = true;
    return result;
  }

  private QuantizeConfig requireConfig() {
    model.checkOpen();
    if (quantized) {
      throw new NanoModelException("the model is quantized already");
    }
    return quantizeConfig.orElseThrow(() ->
        new NanoModelException(
            "the model was loaded without a QuantizeConfig: use AutoNanoModel.load(path, config)"));
  }

  /**
   * Copies the checkpoint it stands on into a new directory; it appears there whole or not at all.
   */
  public void save(Path output) {
    model.changing(() -> copyTo(output));
  }

  private Path copyTo(Path output) {
    if (quantizeConfig.isPresent() && !quantized) {
      throw new NanoModelException(
          "the model is not quantized yet: call quantize first, then save");
    }
    CheckpointFiles.copy(directory(), output);
    return output;
  }

  /**
   * Frees everything. Texts under way are cancelled: a {@link Generation} ends with what it has,
   * {@code generate} and {@code stream} end with an {@link IllegalStateException}. Other calls in
   * flight are waited for. Closing again does nothing. A listener cannot close the model that calls
   * it.
   */
  @Override
  public void close() {
    model.close();
  }
}
