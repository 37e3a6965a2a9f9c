package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.function.DoubleConsumer;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.data.TextData;
import org.nanomodel.evaluate.Divergence;
import org.nanomodel.evaluate.DivergenceResult;
import org.nanomodel.evaluate.Perplexity;
import org.nanomodel.evaluate.PerplexityOptions;
import org.nanomodel.evaluate.PerplexityResult;
import org.nanomodel.evaluate.Protocol;
import org.nanomodel.evaluate.ReferenceLogits;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eval}: how well a model predicts a text. */
@Command(
    name = "eval",
    description =
        "Measures perplexity: how well a model predicts a text, lower is better; or how far its"
            + " predictions are from those of a reference.",
    footer = {
      "  nanomodel eval --model stories-qwen3 --data stories-eval --protocol rows",
      "  nanomodel eval --metric kl --model my-4bit --reference stories-qwen3 --data stories-eval"
    })
final class Eval extends Verb {
  @Mixin private ModelFlag model;
  @Mixin private DataFlags data;

  @Option(
      names = "--metric",
      paramLabel = "ppl|kl",
      defaultValue = "ppl",
      description =
          "ppl: perplexity; kl: also the divergence from a reference. Default: ${DEFAULT-VALUE}.")
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
      paramLabel = "MODEL",
      description = "For --metric kl: the model to compare with, usually the original.")
  private String reference;

  @Option(
      names = "--reference-logits",
      paramLabel = "FILE",
      description =
          "Keeps the reference's predictions in FILE, and takes them from there where it exists:"
              + " the reference then runs once for many variants.")
  private Path referenceLogits;

  @Mixin private AdapterFlag adapter;
  @Mixin private EngineFlags engine;

  @Override
  void run() {
    boolean kl = metric.equals("kl");
    if (!kl && !metric.equals("ppl")) {
      throw new UsageException("--metric " + metric + ": expected ppl or kl");
    }
    if (kl == (reference == null && referenceLogits == null)) {
      throw new UsageException(
          kl
              ? "--metric kl needs --reference MODEL, or --reference-logits FILE that exists"
              : "--reference and --reference-logits belong to --metric kl");
    }
    if (!data.given()) {
      throw new UsageException("--data is missing: a file, or a bundled text such as stories-eval");
    }
    PerplexityOptions options = new PerplexityOptions(Protocol.of(protocol), window, stride);
    TextData text = data.open();
    try (NanoModel loaded =
        AutoNanoModel.load(model.resolve(environment()), engine.options(), adapter.get())) {
      if (kl) {
        divergence(loaded, text, options);
      } else {
        perplexity(loaded, text, options);
      }
    }
  }

  private void perplexity(NanoModel loaded, TextData text, PerplexityOptions options) {
    PerplexityResult result =
        new Perplexity(loaded.graph(), loaded.tokenizer())
            .run(text, options, console().cancel(), progress(text.name()));
    print(result);
    finish(result.toJson(), loaded, text);
  }

  private void divergence(NanoModel loaded, TextData text, PerplexityOptions options) {
    var measure = new Divergence(loaded.graph(), loaded.tokenizer());
    DivergenceResult result;
    String against;
    if (referenceLogits == null) {
      against = reference;
      try (NanoModel original = open(reference)) {
        result =
            measure.against(
                original.graph(), text, options, console().cancel(), progress(text.name()));
      }
    } else {
      try (ReferenceLogits stored = stored(text, options)) {
        against = stored.model().name();
        result = measure.against(stored, text, options, console().cancel(), progress(text.name()));
      }
    }
    print(result.perplexity());
    print(result, against);
    ObjectNode json = result.toJson();
    json.put("reference", against);
    json.put("reference_logits", referenceLogits == null ? null : referenceLogits.toString());
    finish(json, loaded, text);
  }

  private NanoModel open(String name) {
    return AutoNanoModel.load(ModelFlag.resolve(name, environment()), engine.options());
  }

  /** The file, made first where it is missing. */
  private ReferenceLogits stored(TextData text, PerplexityOptions options) {
    if (reference == null) {
      if (!Files.exists(referenceLogits)) {
        throw new NanoModelException(
            referenceLogits + ": no such file; give --reference MODEL to make it");
      }
      return ReferenceLogits.open(referenceLogits);
    }
    try (NanoModel original = open(reference)) {
      var identity = new ReferenceLogits.Identity(reference, original.directory().sha256());
      if (!Files.exists(referenceLogits)) {
        ReferenceLogits.record(
            referenceLogits,
            original.graph(),
            original.tokenizer(),
            identity,
            text,
            options,
            console().cancel(),
            progress("the reference"));
      }
      ReferenceLogits stored = ReferenceLogits.open(referenceLogits);
      try {
        stored.requireModel(identity);
        return stored;
      } catch (RuntimeException e) {
        stored.close();
        throw e;
      }
    }
  }

  private DoubleConsumer progress(String what) {
    return part -> console().progress("%3.0f %% of %s", 100 * part, what);
  }

  private void finish(ObjectNode json, NanoModel loaded, TextData text) {
    json.put("model", model.name()).put("data", text.name()).put("tier", loaded.engine().tier());
    console().document(json);
  }

  private void print(DivergenceResult r, String against) {
    Console c = console();
    c.print("");
    c.print("against     %s, perplexity %.4f", against, r.pplReference());
    c.print("ln ratio    %.5f +/- %.5f", r.lnPplRatio(), r.lnPplRatioStderr());
    c.print("divergence  %s +/- %s nats, mean", nats(r.kldMean()), nats(r.kldMeanStderr()));
    c.print(
        "            median %s, 99 %% %s, 99.9 %% %s, most %s",
        nats(r.kldMedian()), nats(r.kldP99()), nats(r.kldP999()), nats(r.kldMax()));
    c.print("same top    %.2f +/- %.2f %%", 100 * r.top1Agreement(), 100 * r.top1AgreementStderr());
    c.print(
        "delta p     %.3f %% mean, %.3f %% root mean square",
        100 * r.deltaPMean(), 100 * r.deltaPRms());
  }

  /** Small divergences keep their digits. */
  private static String nats(double value) {
    return String.format(Locale.ROOT, value != 0 && value < 1e-3 ? "%.2e" : "%.5f", value);
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
