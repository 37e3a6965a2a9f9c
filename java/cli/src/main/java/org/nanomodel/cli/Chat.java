package org.nanomodel.cli;

import java.io.IOException;
import java.util.Optional;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.generate.Conversation;
import org.nanomodel.tokenizer.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code chat}: questions and answers, line by line. */
@Command(
    name = "chat",
    description = "Answers what you type, line by line, through the model's chat template.",
    footer = "  nanomodel chat --model stories-qwen3 --temp 0.8")
final class Chat extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = {"-p", "--prompt"},
      paramLabel = "TEXT",
      description = "The first message.")
  private String prompt;

  @Mixin private ChatFlags chat;
  @Mixin private SamplingFlags sampling;
  @Mixin private AdapterFlag adapter;
  @Mixin private EngineFlags engine;

  @Override
  void run() throws IOException {
    try (NanoModel loaded =
            AutoNanoModel.load(model.resolve(environment()), engine.options(), adapter.get());
        TurnSignal signal = new TurnSignal(console(), this::quit)) {
      Tokenizer tokenizer =
          loaded
              .tokenizer()
              .orElseThrow(() ->
                  new NanoModelException(
                      "Model '" + model.name() + "' has no tokenizer.json, which a chat needs"));
      ChatTemplate template = chat.template(tokenizer);
      var history = new ChatHistory(tokenizer, template, chat.options(), chat.system());
      if (console().terminal()) {
        console().note("%s; /help shows the commands", model.name());
      }
      // the weights are loaded before the first question
      try (var conversation = new Conversation(loaded.graph(), Optional.empty())) {
        new ChatSession(
                console(),
                loaded,
                conversation,
                history,
                template.turnEnds(tokenizer),
                sampling,
                signal)
            .run(prompt);
      }
    }
  }

  /** Ctrl-C at the prompt: the thread that reads the line cannot be woken. */
  private void quit() {
    console().write(System.lineSeparator());
    Runtime.getRuntime().halt(ExitCode.INTERRUPTED);
  }
}
