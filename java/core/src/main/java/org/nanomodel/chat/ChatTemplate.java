package org.nanomodel.chat;

import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.NanoModelException;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * A model's chat template: messages to the prompt that the model was trained on.
 *
 * <p>Special tokens that a message spells, such as {@code <|im_end|>}, stay text when it is encoded
 * with {@link #encode}: only the template can end a turn. May be used by several threads.
 */
public final class ChatTemplate {
  private final Map<String, String> sources; // by name
  private final Map<String, Template> parsed = new LinkedHashMap<>();
  private final Map<String, String> tokens; // bos_token and its like

  private ChatTemplate(Map<String, String> sources, Map<String, String> tokens) {
    this.sources = sources;
    this.tokens = tokens;
  }

  /** A template that is at hand. */
  public static ChatTemplate of(String source) {
    return new ChatTemplate(Map.of("default", source), Map.of());
  }

  /** Another template for a model's tokenizer. */
  public static ChatTemplate of(String source, Tokenizer tokenizer) {
    return new ChatTemplate(Map.of("default", source), tokenizer.specialNames());
  }

  /**
   * The template of a model's tokenizer: chat_template.jinja, or chat_template in
   * tokenizer_config.json. Empty when the model has none.
   */
  public static Optional<ChatTemplate> find(Tokenizer tokenizer) {
    Map<String, String> sources = tokenizer.chatTemplates();
    return sources.isEmpty()
        ? Optional.empty()
        : Optional.of(new ChatTemplate(sources, tokenizer.specialNames()));
  }

  /** As {@link #find}, or an error that names the model. */
  public static ChatTemplate require(Tokenizer tokenizer) {
    return find(tokenizer)
        .orElseThrow(() ->
            new NanoModelException(
                tokenizer.file()
                    + ": the model has no chat template (chat_template.jinja, or chat_template in"
                    + " tokenizer_config.json); continue a text instead, without chat"));
  }

  /** The prompt as text, with special tokens as they are spelled, whoever spelled them. */
  public String render(List<ChatMessage> messages, ChatOptions options) {
    return template(options).render(variables(messages, options, null));
  }

  /**
   * The prompt as token ids; special tokens are those of the template, and those that messages,
   * tools or variables spell are text. No token is added around it: templates write their own.
   */
  public int[] encode(Tokenizer tokenizer, List<ChatMessage> messages, ChatOptions options) {
    var guard = new Guard(tokenizer.specialTokens());
    String rendered = template(options).render(variables(messages, options, guard));
    return guard.used()
        ? tokenizer.encode(guard.parts(rendered))
        : tokenizer.encode(rendered, false);
  }

  /**
   * The special token that the template writes after an answer, if there is one: not every model
   * names it among its end tokens.
   */
  public List<Integer> turnEnds(Tokenizer tokenizer) {
    String answer = "answer";
    List<ChatMessage> turn = List.of(ChatMessage.user("question"), ChatMessage.assistant(answer));
    String rendered;
    try {
      rendered = render(turn, ChatOptions.WHOLE);
    } catch (TemplateException e) {
      return List.of(); // it wants messages of another kind
    }
    int at = rendered.lastIndexOf(answer);
    String rest = at < 0 ? "" : rendered.substring(at + answer.length()).stripLeading();
    return tokenizer.specialTokens().stream()
        .filter(rest::startsWith)
        .max(Comparator.comparingInt(String::length))
        .map(token -> List.of(tokenizer.idOf(token).getAsInt()))
        .orElse(List.of());
  }

  /** Of several, the one for tools where tools are given. */
  private synchronized Template template(ChatOptions options) {
    String name =
        !options.tools().isEmpty() && sources.containsKey("tool_use")
            ? "tool_use"
            : sources.containsKey("default") ? "default" : sources.keySet().iterator().next();
    return parsed.computeIfAbsent(name, key -> Template.of(sources.get(key)));
  }

  private Map<String, Object> variables(
      List<ChatMessage> messages, ChatOptions options, Guard guard) {
    Map<String, Object> all = new LinkedHashMap<>(tokens);
    options.variables().forEach((name, value) -> all.put(name, guarded(value, guard)));
    all.put("messages", guarded(messages.stream().map(ChatMessage::fields).toList(), guard));
    // transformers gives null, and templates ask whether it is none.
    all.put("tools", options.tools().isEmpty() ? null : guarded(options.tools(), guard));
    all.putIfAbsent("documents", null);
    all.put("add_generation_prompt", options.addGenerationPrompt());
    return all;
  }

  private static Object guarded(Object value, Guard guard) {
    return guard == null ? value : guard.guard(value);
  }
}
