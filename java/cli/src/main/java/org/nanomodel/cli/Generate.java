package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.chat.ChatMessage;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generation;
import org.nanomodel.generate.Request;
import org.nanomodel.generate.TokenLogprobs;
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
      description =
          "A file with it; of a .jsonl or .safetensors file every row is a prompt, and all are"
              + " answered in one batch.")
  private Path promptFile;

  @Option(
      names = "--input-ids",
      paramLabel = "1,2,3",
      split = ",",
      description = "Or its token ids.")
  private List<Integer> inputIds;

  @Mixin private SamplingFlags sampling;

  @Option(
      names = "--chat",
      description = "The prompt is a user's message; the model's chat template goes around it.")
  private boolean chat;

  @Mixin private ChatFlags chatFlags;

  @Mixin private AdapterFlag adapter;
  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    check();
    long seed = sampling.seed();
    try (NanoModel loaded =
        AutoNanoModel.load(model.resolve(environment()), engine.options(), adapter.get())) {
      Optional<ChatTemplate> template = template(loaded.tokenizer());
      List<int[]> prompts = prompts(loaded.tokenizer(), template);
      List<Integer> ends =
          template.map(t -> t.turnEnds(loaded.tokenizer().orElseThrow())).orElse(List.of());
      GenerateOptions options = sampling.options(seed, ends, sampling.stop());
      if (prompts.size() == 1 && options.n() == 1) {
        one(loaded, prompts.getFirst(), options);
      } else {
        many(loaded, prompts, options);
      }
    }
  }

  /** Prints the text as it comes; with --json one document. */
  private void one(NanoModel loaded, int[] ids, GenerateOptions options) {
    Generation generation = loaded.submit(request(ids, options));
    generation
        .pieces()
        .forEachRemaining(p -> console().write(p.text() == null ? p.id() + " " : p.text()));
    GenerateResult result = generation.result();
    console().write(System.lineSeparator());
    note(loaded, result.decodeTps(), result);
    console().document(json(loaded, result, ids, options.seed()));
  }

  /**
   * Answers all in one batch; prints them in the order of the prompts, each as soon as it can be.
   */
  private void many(NanoModel loaded, List<int[]> prompts, GenerateOptions options) {
    long start = System.nanoTime();
    List<List<Generation>> all =
        prompts.stream().map(ids -> loaded.loop().submitAll(request(ids, options))).toList();
    int tokens = 0;
    for (int i = 0; i < all.size(); i++) {
      for (int sample = 0; sample < all.get(i).size(); sample++) {
        GenerateResult result = all.get(i).get(sample).result();
        tokens += result.completionTokens();
        print(loaded, result, i, sample);
        if (console().json()) {
          ObjectNode line = json(loaded, result, prompts.get(i), options.seed() + sample);
          console().line(line.put("index", i).put("sample", sample));
        }
      }
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    console()
        .note(
            "%d prompts, %d new tokens, %.0f tokens/s (%s, %d threads)",
            prompts.size(),
            tokens,
            tokens / seconds,
            loaded.engine().tier(),
            loaded.engine().threads());
  }

  private void print(NanoModel loaded, GenerateResult result, int index, int sample) {
    String text =
        result.text() != null
            ? result.text()
            : result.ids().stream().map(String::valueOf).collect(Collectors.joining(" "));
    console().print("--- %d.%d", index, sample);
    console().write(text + System.lineSeparator());
  }

  private Request request(int[] ids, GenerateOptions options) {
    return new Request(ids, options, id -> true, console().cancel());
  }

  private void note(NanoModel loaded, double tps, GenerateResult result) {
    console()
        .note(
            "%d + %d tokens, prompt %.0f ms, %.0f tokens/s, %s (%s, %d threads)",
            result.promptTokens(),
            result.completionTokens(),
            result.prefillMs(),
            tps,
            result.finishReason(),
            loaded.engine().tier(),
            loaded.engine().threads());
  }

  private void check() {
    long given =
        (prompt != null ? 1 : 0) + (promptFile != null ? 1 : 0) + (inputIds != null ? 1 : 0);
    if (given != 1) {
      throw new UsageException(
          "Give one of --prompt, --prompt-file, --input-ids; got " + (given == 0 ? "none" : given));
    }
    if (chat && inputIds != null) {
      throw new UsageException("--chat needs a message in --prompt or --prompt-file, not ids");
    }
    if (!chat && chatFlags.given()) {
      throw new UsageException(
          "--system, --chat-template-file and --chat-template-kwargs go with --chat");
    }
  }

  private Optional<ChatTemplate> template(Optional<Tokenizer> tokenizer) throws IOException {
    return chat && tokenizer.isPresent()
        ? Optional.of(chatFlags.template(tokenizer.get()))
        : Optional.empty();
  }

  private List<int[]> prompts(Optional<Tokenizer> tokenizer, Optional<ChatTemplate> template) {
    if (inputIds != null) {
      return List.of(inputIds.stream().mapToInt(Integer::intValue).toArray());
    }
    TextData data =
        prompt != null
            ? TextData.ofTexts("--prompt", List.of(prompt), DataOptions.ALL)
            : TextData.open(promptFile.toString(), DataOptions.ALL);
    if (data.isText() && tokenizer.isEmpty()) {
      throw new NanoModelException(
          "Model '"
              + model.name()
              + "' has no tokenizer.json; give token ids with --input-ids, or rows of them in"
              + " --prompt-file");
    }
    if (template.isPresent() && data.isText()) {
      return data.texts().stream()
          .map(text -> template.get().encode(tokenizer.get(), messages(text), chatFlags.options()))
          .toList();
    }
    return data.rows(tokenizer, Integer.MAX_VALUE);
  }

  /** A user's message, after the system's where there is one. */
  private List<ChatMessage> messages(String text) {
    List<ChatMessage> messages = new ArrayList<>();
    if (chatFlags.system() != null) {
      messages.add(ChatMessage.system(chatFlags.system()));
    }
    messages.add(ChatMessage.user(text));
    return messages;
  }

  private ObjectNode json(NanoModel loaded, GenerateResult result, int[] prompt, long seed) {
    ObjectNode json = object();
    json.put("text", result.text());
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
    json.put("seed", seed);
    if (!result.logprobs().isEmpty()) {
      ArrayNode logprobs = json.putArray("logprobs");
      for (TokenLogprobs of : result.logprobs()) {
        ArrayNode top = token(loaded, logprobs.addObject(), of.id(), of.logprob()).putArray("top");
        of.top().forEach(c -> token(loaded, top.addObject(), c.id(), c.logprob()));
      }
    }
    return json;
  }

  private static ObjectNode token(NanoModel loaded, ObjectNode to, int id, double logprob) {
    String text = loaded.tokenizer().map(t -> t.decode(new int[] {id}, false)).orElse(null);
    return to.put("id", id).put("token", text).put("logprob", logprob);
  }
}
