package org.nanomodel.chat;

import java.util.List;
import java.util.Map;

/**
 * How messages become a prompt.
 *
 * @param addGenerationPrompt whether the prompt ends where the assistant's answer begins
 * @param tools descriptions of functions that the model may call, as JSON schemas; empty = none
 * @param variables what else the template knows, such as {@code enable_thinking}
 */
public record ChatOptions(
    boolean addGenerationPrompt, List<Map<String, Object>> tools, Map<String, Object> variables) {
  /** For an answer. */
  public static final ChatOptions ANSWER = new ChatOptions(true, List.of(), Map.of());

  /** For a chat as a whole, such as a text to evaluate. */
  public static final ChatOptions WHOLE = new ChatOptions(false, List.of(), Map.of());

  public ChatOptions {
    tools = List.copyOf(tools);
  }

  public ChatOptions withTools(List<Map<String, Object>> value) {
    return new ChatOptions(addGenerationPrompt, value, variables);
  }

  public ChatOptions withVariables(Map<String, Object> value) {
    return new ChatOptions(addGenerationPrompt, tools, value);
  }
}
