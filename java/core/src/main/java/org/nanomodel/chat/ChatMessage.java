package org.nanomodel.chat;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * One message of a chat: the fields that a template sees, {@code role} and {@code content} and
 * whatever else the model's template knows ({@code tool_calls}, {@code reasoning_content}, ...).
 * Values are maps, lists, texts, numbers, booleans and null.
 */
public record ChatMessage(Map<String, Object> fields) {
  public ChatMessage {
    fields = Collections.unmodifiableMap(new LinkedHashMap<>(fields));
    if (!(fields.get("role") instanceof String role) || role.isEmpty()) {
      throw new IllegalArgumentException("a message has no role; expected user, assistant, system");
    }
  }

  /** A message of these two fields. */
  public static ChatMessage of(String role, String content) {
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("role", Objects.requireNonNull(role, "role"));
    fields.put("content", content);
    return new ChatMessage(fields);
  }

  public static ChatMessage system(String content) {
    return of("system", content);
  }

  public static ChatMessage user(String content) {
    return of("user", content);
  }

  public static ChatMessage assistant(String content) {
    return of("assistant", content);
  }

  public String role() {
    return (String) fields.get("role");
  }

  /** The content if it is a text, else an empty one. */
  public String content() {
    return fields.get("content") instanceof String text ? text : "";
  }
}
