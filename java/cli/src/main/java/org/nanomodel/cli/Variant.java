package org.nanomodel.cli;

import java.nio.file.Path;
import java.util.Arrays;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.Report;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.quantize.PeakMemory;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * One model of the demo, measured.
 *
 * @param story how it goes on after {@link #PROMPT}
 */
record Variant(Report.Row row, String story) {
  static final String PROMPT = "Once upon a time";
  private static final int STORY_TOKENS = 48;
  private static final int SPEED_TOKENS = 128;
  private static final int SPEED_RUNS = 3;
  private static final int PREFILL_TOKENS = 256;

  /**
   * @param config null for the original
   */
  static Variant measure(
      String name, Path path, QuantizeConfig config, EngineOptions options, Console console) {
    try (NanoModel model = AutoNanoModel.load(path, options)) {
      Tokenizer tokenizer = model.tokenizer().orElseThrow();
      TextData text = TextData.open("stories-eval", DataOptions.ALL);
      double ppl =
          new Perplexity(model.graph(), model.tokenizer())
              .run(
                  text,
                  PerplexityOptions.rows(),
                  console.cancel(),
                  part -> console.progress("%s: %.0f %%", name, 100 * part))
              .ppl();
      int[] prompt = tokenizer.encode(PROMPT);
      GenerateResult story =
          new Generator(model.graph())
              .generate(prompt, GenerateOptions.builder().maxTokens(STORY_TOKENS).build());
      int[] context = Arrays.copyOf(text.stream(model.tokenizer()), PREFILL_TOKENS);
      ModelSize size = ModelSize.of(model.directory());
      double prefill = prefillMs(model, context);
      Report.Row row =
          new Report.Row(
              name,
              config == null ? null : config.method().value(),
              config == null ? null : config.bits(),
              config == null ? null : config.groupSize(),
              size.bpw(),
              size.bytes(),
              ppl,
              prefill,
              1000 * PREFILL_TOKENS / prefill,
              decodeTps(model, prompt),
              PeakMemory.bytes());
      var stream = tokenizer.stream(true, prompt);
      story.ids().forEach(stream::add);
      stream.finish();
      return new Variant(row, stream.text());
    }
  }

  private static double decodeTps(NanoModel model, int[] prompt) {
    var options = GenerateOptions.builder().maxTokens(SPEED_TOKENS).ignoreEnd(true).build();
    double[] runs = new double[SPEED_RUNS];
    for (int i = 0; i < runs.length; i++) {
      runs[i] = new Generator(model.graph()).generate(prompt, options).decodeTps();
    }
    Arrays.sort(runs);
    return runs[runs.length / 2];
  }

  private static double prefillMs(NanoModel model, int[] context) {
    var options = GenerateOptions.builder().maxTokens(1).build();
    double[] runs = new double[SPEED_RUNS];
    for (int i = 0; i < runs.length; i++) {
      runs[i] = new Generator(model.graph()).generate(context, options).prefillMs();
    }
    Arrays.sort(runs);
    return runs[runs.length / 2];
  }
}
