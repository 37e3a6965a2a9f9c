package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModel;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Divergence;
import org.nanomodel.evaluate.DivergenceResult;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.Report;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.quantize.Calibration;
import org.nanomodel.quantize.PeakMemory;
import org.nanomodel.quantize.QuantizeJob;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * An original and quantized variants of it, measured alike: the checkpoints are made first, then
 * each is loaded alone for its peak memory and a text, then each runs beside the original for
 * perplexity and divergence, and last come the speeds, turn by turn, so that whatever else the
 * machine does meanwhile falls on all of them.
 */
final class Comparison {
  static final String PROMPT = "Once upon a time";
  private static final int STORY_TOKENS = 48;
  private static final int IDS_OF_PROMPT = 8; // for models without a tokenizer

  /**
   * A model to measure.
   *
   * @param config null for the original
   */
  record Candidate(String name, Path path, QuantizeConfig config) {}

  /**
   * A model, measured.
   *
   * @param story how it goes on after {@link #PROMPT}; null without a tokenizer
   */
  record Measured(Report.Row row, String story) {}

  /** What loading a model alone shows. */
  private record Alone(ModelSize size, String story, Long peak) {}

  /** What running it over the data shows. */
  private record Quality(double ppl, double kl, double top1) {}

  private final Path source;
  private final List<Candidate> quantized;
  private final EngineOptions options;
  private final Console console;
  private final Progress progress;
  private boolean overwrite;
  private TextData calibration;

  /**
   * @param quantized where each is, or is to be made
   */
  Comparison(Path source, List<Candidate> quantized, EngineOptions options, Console console) {
    this.source = source;
    this.quantized = List.copyOf(quantized);
    this.options = options;
    this.console = console;
    this.progress = new Progress(console, quantized.size() + 1);
  }

  /** Makes checkpoints anew where something else is in their place. */
  Comparison overwrite(boolean value) {
    overwrite = value;
    return this;
  }

  /** Data for methods that need some; may be null. */
  Comparison calibration(TextData value) {
    calibration = value;
    return this;
  }

  /**
   * Measures all, the original first.
   *
   * @param originalName in the table
   */
  List<Measured> run(String originalName, TextData data, PerplexityOptions how) {
    for (Candidate candidate : quantized) {
      progress.begin(Progress.QUANTIZE, "quantizing " + candidate.name());
      quantize(candidate);
    }
    List<Candidate> all = new ArrayList<>();
    all.add(new Candidate(originalName, source, null));
    all.addAll(quantized);
    List<Alone> alone = new ArrayList<>();
    for (Candidate candidate : all) {
      progress.begin(Progress.LOAD, "loading " + candidate.name());
      alone.add(load(candidate));
    }
    List<Quality> quality = qualities(all, data, how);
    progress.begin(Progress.SPEED, "measuring speeds, turn by turn");
    List<Speeds.Speed> speeds =
        new Speeds(all.stream().map(Candidate::path).toList(), options, console).measure();
    List<Measured> measured = new ArrayList<>();
    for (int i = 0; i < all.size(); i++) {
      Report.Row row = row(all.get(i), alone.get(i), quality.get(i), speeds.get(i));
      measured.add(new Measured(row, alone.get(i).story()));
    }
    return measured;
  }

  private void quantize(Candidate candidate) {
    checkNotInterrupted();
    try (NanoModel model = AutoNanoModel.load(source, candidate.config(), options)) {
      var job =
          QuantizeJob.of(model.directory(), candidate.config(), model.engine(), candidate.path());
      if (candidate.config().isCalibrated()) {
        job.calibration(Calibration.of(calibration, model.tokenizer(), model.config()));
      }
      var result = job.overwrite(overwrite).cancel(console.cancel()).run();
      if (result.alreadyDone()) {
        console.note("%s is there already", candidate.path());
      }
    }
  }

  private Alone load(Candidate candidate) {
    checkNotInterrupted();
    System.gc(); // what the last model left is no part of this one's peak
    boolean counted = PeakMemory.reset();
    try (NanoModel model = AutoNanoModel.load(candidate.path(), options)) {
      int[] prompt =
          model
              .tokenizer()
              .map(t -> t.encode(PROMPT))
              .orElseGet(
                  () -> new Random(1).ints(IDS_OF_PROMPT, 0, model.config().vocabSize()).toArray());
      var greedy = GenerateOptions.builder().maxTokens(STORY_TOKENS).build();
      GenerateResult story = new Generator(model.graph()).generate(prompt, greedy);
      String text = model.tokenizer().map(t -> text(t, prompt, story)).orElse(null);
      Long peak = counted ? PeakMemory.bytes() : null;
      return new Alone(ModelSize.of(model.directory()), text, peak);
    }
  }

  private static String text(Tokenizer tokenizer, int[] prompt, GenerateResult story) {
    var stream = tokenizer.stream(true, prompt);
    story.ids().forEach(stream::add);
    stream.finish();
    return stream.text();
  }

  private List<Quality> qualities(List<Candidate> all, TextData data, PerplexityOptions how) {
    List<Quality> out = new ArrayList<>();
    try (NanoModel original = AutoNanoModel.load(source, options)) {
      for (Candidate candidate : all) {
        checkNotInterrupted();
        progress.begin(Progress.QUALITY, "perplexity of " + candidate.name());
        if (candidate.config() == null) {
          var measure = new Perplexity(original.graph(), original.tokenizer());
          var result = measure.run(data, how, console.cancel(), progress::part);
          out.add(new Quality(result.ppl(), 0, 1)); // from itself
        } else {
          out.add(quality(candidate, original, data, how));
        }
      }
    }
    return out;
  }

  private Quality quality(
      Candidate candidate, NanoModel original, TextData data, PerplexityOptions how) {
    try (NanoModel model = AutoNanoModel.load(candidate.path(), options)) {
      DivergenceResult result =
          new Divergence(model.graph(), model.tokenizer())
              .against(original.graph(), data, how, console.cancel(), progress::part);
      return new Quality(result.perplexity().ppl(), result.kldMean(), result.top1Agreement());
    }
  }

  private static Report.Row row(Candidate c, Alone alone, Quality quality, Speeds.Speed speed) {
    QuantizeConfig config = c.config();
    return new Report.Row(
        c.name(),
        config == null ? null : config.method().value(),
        config == null ? null : config.bits(),
        config == null ? null : config.groupSize(),
        alone.size().bpw(),
        alone.size().bytes(),
        quality.ppl(),
        quality.kl(),
        quality.top1(),
        speed.prefillMs(),
        speed.prefillTps(),
        speed.decodeTps(),
        alone.peak());
  }

  private void checkNotInterrupted() {
    if (console.cancel().isRaised()) {
      throw new CancelledException("Interrupted; the same command goes on with what is finished");
    }
  }

  /** How far the work is, and about how long the rest takes: kinds of steps have fixed weights. */
  private static final class Progress {
    static final int QUANTIZE = 2;
    static final int LOAD = 1;
    static final int QUALITY = 5;
    static final int SPEED = 3; // for each model

    private final Console console;
    private final int all;
    private final int models;
    private final long start = System.nanoTime();
    private String what;
    private int done;
    private int current;

    Progress(Console console, int models) {
      this.console = console;
      this.models = models;
      all = QUANTIZE * (models - 1) + (LOAD + QUALITY + SPEED) * models;
    }

    void begin(int weight, String step) {
      done += current;
      current = weight == SPEED ? weight * models : weight;
      what = step;
      console.note("%s ...%s", step, left(0));
    }

    void part(double fraction) {
      console.progress("%s: %.0f %%%s", what, 100 * fraction, left(fraction));
    }

    private String left(double fraction) {
      double share = (done + fraction * current) / all;
      double seconds = (System.nanoTime() - start) / 1e9;
      return share < 0.02 ? "" : ", about %.0f s left".formatted(seconds * (1 - share) / share);
    }
  }
}
