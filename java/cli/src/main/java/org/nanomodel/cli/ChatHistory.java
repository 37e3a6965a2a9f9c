package org.nanomodel.cli;

import java.util.ArrayList;
import java.util.List;
import org.nanomodel.chat.ChatMessage;
import org.nanomodel.chat.ChatOptions;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.tokenizer.Tokenizer;

/** What was said so far, and the prompt that it makes. */
final class ChatHistory {
  private final Tokenizer tokenizer;
  private final ChatTemplate template;
  private final ChatOptions options;
  private final List<ChatMessage> turns = new ArrayList<>(); // user, assistant, user ...
  private String system;

  ChatHistory(Tokenizer tokenizer, ChatTemplate template, ChatOptions options, String system) {
    this.tokenizer = tokenizer;
    this.template = template;
    this.options = options;
    this.system = system;
  }

  void clear() {
    turns.clear();
  }

  /** Begins anew with another system message; null = none. */
  void system(String text) {
    system = text;
    clear();
  }

  void user(String text) {
    turns.add(ChatMessage.user(text));
  }

  void assistant(String text) {
    turns.add(ChatMessage.assistant(text));
  }

  /** Takes the last message back. */
  void takeBack() {
    turns.removeLast();
  }

  /**
   * The prompt for the next answer; while it leaves no room, the oldest question and its answer are
   * forgotten.
   *
   * @param context of the model, in tokens
   * @param room tokens that the answer should have
   */
  Prompt prompt(int context, int room) {
    int forgotten = 0;
    while (true) {
      int[] ids = encode();
      if (ids.length + Math.min(room, context / 4) <= context || turns.size() < 3) {
        return new Prompt(ids, forgotten);
      }
      turns.subList(0, 2).clear();
      forgotten += 2;
    }
  }

  /**
   * A prompt.
   *
   * @param forgotten messages that were dropped for it
   */
  record Prompt(int[] ids, int forgotten) {}

  private int[] encode() {
    List<ChatMessage> all = new ArrayList<>();
    if (system != null) {
      all.add(ChatMessage.system(system));
    }
    all.addAll(turns);
    return template.encode(tokenizer, all, options);
  }
}
