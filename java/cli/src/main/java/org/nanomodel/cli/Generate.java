package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.chat.ChatMessage;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.Request;
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

  @Mixin private SamplingFlags sampling;

  @Option(
      names = "--chat",
      description = "The prompt is a user's message; the model's chat template goes around it.")
  private boolean chat;

  @Mixin private ChatFlags chatFlags;

  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    check();
    long chosenSeed = sampling.seed();
    try (NanoModel loaded = AutoNanoModel.load(model.resolve(environment()), engine.options())) {
      Prompt given = prompt(loaded.tokenizer());
      int[] ids = given.ids();
      GenerateOptions options = sampling.options(chosenSeed, given.ends());
      TextOut text =
          loaded.tokenizer().map(t -> new TextOut(console(), t, ids, sampling.stop())).orElse(null);
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
    if (chat && inputIds != null) {
      throw new UsageException("--chat needs a message in --prompt or --prompt-file, not ids");
    }
    if (!chat && chatFlags.given()) {
      throw new UsageException(
          "--system, --chat-template-file and --chat-template-kwargs go with --chat");
    }
  }

  /**
   * @param ends tokens that end the answer besides the model's own
   */
  private record Prompt(int[] ids, List<Integer> ends) {}

  private Prompt prompt(Optional<Tokenizer> tokenizer) throws IOException {
    if (inputIds != null) {
      return new Prompt(inputIds.stream().mapToInt(Integer::intValue).toArray(), List.of());
    }
    Tokenizer t =
        tokenizer.orElseThrow(() ->
            new NanoModelException(
                "Model '"
                    + model.name()
                    + "' has no tokenizer.json; give token ids with --input-ids"));
    String text = prompt != null ? prompt : Files.readString(promptFile);
    if (!chat) {
      return new Prompt(t.encode(text), List.of());
    }
    ChatTemplate template = chatFlags.template(t);
    List<ChatMessage> messages = new ArrayList<>();
    if (chatFlags.system() != null) {
      messages.add(ChatMessage.system(chatFlags.system()));
    }
    messages.add(ChatMessage.user(text));
    return new Prompt(template.encode(t, messages, chatFlags.options()), template.turnEnds(t));
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
    json.put("text", text == null ? null : text.text());
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
