package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.PerplexityResult;
import org.nanomodel.evaluate.Protocol;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eval}: how well a model predicts a text. */
@Command(
    name = "eval",
    description = "Measures perplexity: how well a model predicts a text. Lower is better.",
    footer = "  nanomodel eval --model stories-qwen3 --data stories-eval --protocol rows")
final class Eval extends Verb {
  @Mixin private ModelFlag model;
  @Mixin private DataFlags data;

  @Option(names = "--metric", paramLabel = "ppl", defaultValue = "ppl", description = "ppl.")
  private String metric;

  @Option(
      names = "--protocol",
      paramLabel = "NAME",
      defaultValue = "windows",
      description =
          "rows: every document or row on its own; windows: one stream, cut into windows; sliding:"
              + " windows moved by --stride; gptqmodel, llama.cpp: as those tools compute it."
              + " Default: ${DEFAULT-VALUE}.")
  private String protocol;

  @Option(
      names = "--window",
      paramLabel = "N",
      description =
          "Tokens run together. Default: the context, at most 2048; gptqmodel, llama.cpp: 512.")
  private int window;

  @Option(
      names = "--stride",
      paramLabel = "N",
      description = "How far a sliding window moves. Default: half the window.")
  private int stride;

  @Option(
      names = "--reference",
      paramLabel = "DIR",
      description = "For --metric kl.",
      hidden = true)
  private String reference;

  @Mixin private EngineFlags engine;

  @Override
  void run() {
    if (!metric.equals("ppl")) {
      throw new UsageException("--metric " + metric + " is not part of this version; it has ppl");
    }
    if (!data.given()) {
      throw new UsageException("--data is missing: a file, or a bundled text such as stories-eval");
    }
    PerplexityOptions options = new PerplexityOptions(Protocol.of(protocol), window, stride);
    TextData text = data.open();
    try (NanoModel loaded = AutoNanoModel.load(model.resolve(environment()), engine.options())) {
      PerplexityResult result =
          new Perplexity(loaded.graph(), loaded.tokenizer())
              .run(
                  text,
                  options,
                  console().cancel(),
                  part -> console().progress("%3.0f %% of %s", 100 * part, text.name()));
      print(result);
      ObjectNode json = result.toJson();
      json.put("model", model.name()).put("data", text.name()).put("tier", loaded.engine().tier());
      console().document(json);
    }
  }

  private void print(PerplexityResult r) {
    String how =
        switch (r.protocol()) {
          case ROWS -> "rows";
          case SLIDING -> "sliding windows of %d, stride %d".formatted(r.window(), r.stride());
          default -> "%s, windows of %d".formatted(r.protocol(), r.window());
        };
    console().print("perplexity  %.4f +/- %.4f", r.ppl(), r.pplStderr());
    if (r.pplRunningMean() != null) {
      console().print("            %.4f as mean of the running list", r.pplRunningMean());
    }
    console().print("protocol    %s; %,d tokens scored", how, r.tokens());
    if (r.bitsPerByte() != null) {
      console().print("bits/byte   %s", String.format(Locale.ROOT, "%.4f", r.bitsPerByte()));
    }
    console().print("time        %.1f s, %,.0f tokens/s", r.seconds(), r.tokensPerSecond());
  }
}
