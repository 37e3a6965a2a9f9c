package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.Request;
import org.nanomodel.tokenizer.StopScanner;
import org.nanomodel.tokenizer.TokenStream;
import org.nanomodel.tokenizer.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code generate}: continues a text, printing it as it comes. */
@Command(
    name = "generate",
    description = "Continues a text, printing it as it comes.",
    footer =
        "  nanomodel generate --model stories-qwen3 --prompt \"Once upon a time\" -n 100 --temp"
            + " 0.8")
final class Generate extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = {"-p", "--prompt"},
      paramLabel = "TEXT",
      description = "The text to continue.")
  private String prompt;

  @Option(
      names = {"-f", "--prompt-file"},
      paramLabel = "FILE",
      description = "A file with it.")
  private Path promptFile;

  @Option(
      names = "--input-ids",
      paramLabel = "1,2,3",
      split = ",",
      description = "Or its token ids.")
  private List<Integer> inputIds;

  @Option(
      names = {"-n", "--max-tokens"},
      paramLabel = "N",
      defaultValue = "256",
      description = "The most new tokens. Default: ${DEFAULT-VALUE}.")
  private int maxTokens;

  @Option(
      names = {"--temp", "--temperature"},
      paramLabel = "T",
      defaultValue = "0",
      description = "0 = the likeliest token each time. Default: ${DEFAULT-VALUE}.")
  private double temperature;

  @Option(names = "--top-k", paramLabel = "K", description = "Of the K likeliest. Default: all.")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1",
      description = "Of the likeliest that make up P together. Default: all.")
  private double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Of those with at least P times the largest probability. Default: all.")
  private double minP;

  @Option(
      names = "--repeat-penalty",
      paramLabel = "R",
      defaultValue = "1",
      description = "Divides the logits of tokens that occurred. Default: 1, off.")
  private double repeatPenalty;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the random draws. Default: another each time.")
  private Long seed;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "Ends the text; not printed. May be given several times.")
  private List<String> stop = List.of();

  @Option(names = "--chat", hidden = true, description = "The prompt is a message of a chat.")
  private boolean chat;

  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    check();
    long chosenSeed = seed != null ? seed : ThreadLocalRandom.current().nextLong(1L << 31);
    GenerateOptions options =
        GenerateOptions.builder()
            .maxTokens(maxTokens)
            .temperature(temperature)
            .topK(topK)
            .topP(topP)
            .minP(minP)
            .repeatPenalty(repeatPenalty)
            .seed(chosenSeed)
            .build();
    try (NanoModel loaded = AutoNanoModel.load(model.resolve(environment()), engine.options())) {
      int[] ids = promptIds(loaded.tokenizer());
      TextOut text = loaded.tokenizer().map(t -> new TextOut(t, ids)).orElse(null);
      GenerateResult result =
          new Generator(loaded.graph())
              .generate(new Request(ids, options, id -> show(text, id), console().cancel()));
      if (text != null) {
        text.finish();
      }
      console().write(System.lineSeparator());
      console()
          .note(
              "%d + %d tokens, prompt %.0f ms, %.0f tokens/s, %s (%s, %d threads)",
              result.promptTokens(),
              result.completionTokens(),
              result.prefillMs(),
              result.decodeTps(),
              result.finishReason(),
              loaded.engine().tier(),
              loaded.engine().threads());
      console().document(json(result, ids, text, chosenSeed));
    }
  }

  private void check() {
    long given =
        (prompt != null ? 1 : 0) + (promptFile != null ? 1 : 0) + (inputIds != null ? 1 : 0);
    if (given != 1) {
      throw new UsageException(
          "Give one of --prompt, --prompt-file, --input-ids; got " + (given == 0 ? "none" : given));
    }
    if (chat) {
      throw new UsageException(
          "--chat needs chat templates, which this version does not render; write the template into"
              + " --prompt");
    }
  }

  private int[] promptIds(Optional<Tokenizer> tokenizer) throws IOException {
    if (inputIds != null) {
      return inputIds.stream().mapToInt(Integer::intValue).toArray();
    }
    Tokenizer t =
        tokenizer.orElseThrow(() ->
            new NanoModelException(
                "Model '"
                    + model.name()
                    + "' has no tokenizer.json; give token ids with --input-ids"));
    return t.encode(prompt != null ? prompt : Files.readString(promptFile));
  }

  /** The text so far, printed as far as it cannot be part of a stop string. */
  private final class TextOut {
    private final TokenStream stream;
    private final StopScanner stops = new StopScanner(stop);
    private final StringBuilder all = new StringBuilder();

    TextOut(Tokenizer tokenizer, int[] prompt) {
      stream = tokenizer.stream(true, prompt);
    }

    boolean add(int id) {
      emit(stops.push(stream.add(id)));
      return !stops.stopped();
    }

    void finish() {
      emit(stops.push(stream.finish()) + stops.finish());
    }

    private void emit(String piece) {
      all.append(piece);
      console().write(piece);
    }
  }

  private boolean show(TextOut text, int id) {
    if (text != null) {
      return text.add(id);
    }
    console().write(id + " ");
    return true;
  }

  private ObjectNode json(GenerateResult result, int[] prompt, TextOut text, long chosenSeed) {
    ObjectNode json = object();
    json.put("text", text == null ? null : text.all.toString());
    ArrayNode in = json.putArray("input_ids");
    for (int id : prompt) {
      in.add(id);
    }
    ArrayNode out = json.putArray("output_ids");
    result.ids().forEach(out::add);
    json.put("finish_reason", result.finishReason().toString());
    json.put("prompt_tokens", result.promptTokens());
    json.put("completion_tokens", result.completionTokens());
    json.put("prefill_ms", result.prefillMs());
    json.put("decode_ms", result.decodeMs());
    json.put("decode_tps", result.decodeTps());
    json.put("seed", chosenSeed);
    return json;
  }
}
