package org.nanomodel.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.nanomodel.BadModelException;

/**
 * What stands beside a tokenizer.json: tokenizer_config.json and chat_template.jinja.
 *
 * @param json of tokenizer_config.json; empty where there is none
 * @param chatTemplates by name
 */
record TokenizerConfig(JsonNode json, Map<String, String> chatTemplates) {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final long MAX_BYTES = 16L << 20;

  static TokenizerConfig read(Path directory) throws IOException {
    Path file = directory.resolve("tokenizer_config.json");
    JsonNode json =
        Files.exists(file) ? MAPPER.readTree(text(file, MAX_BYTES)) : MAPPER.createObjectNode();
    if (!json.isObject()) {
      throw new BadModelException(file + ": expected a JSON object, got " + json.getNodeType());
    }
    return new TokenizerConfig(json, templates(directory, json.path("chat_template")));
  }

  /** The text of a file of bounded size; a pipe or device is not waited for. */
  static String text(Path file, long most) throws IOException {
    if (!Files.isRegularFile(file)) {
      String what = Files.exists(file) ? "not a regular file" : "no such file";
      throw new BadModelException(file + ": " + what + ", expected a file of the tokenizer");
    }
    if (Files.size(file) > most) {
      throw new BadModelException(
          file + " has " + Files.size(file) + " bytes, expected at most " + most);
    }
    return Files.readString(file);
  }

  /** A text, or a list of texts with names; the file of its own goes first. */
  private static Map<String, String> templates(Path directory, JsonNode template)
      throws IOException {
    Map<String, String> templates = new LinkedHashMap<>();
    if (template.isTextual()) {
      templates.put("default", template.textValue());
    } else {
      for (JsonNode named : template) {
        if (named.path("name").isTextual() && named.path("template").isTextual()) {
          templates.put(named.get("name").textValue(), named.get("template").textValue());
        }
      }
    }
    Path file = directory.resolve("chat_template.jinja");
    if (Files.exists(file)) {
      templates.put("default", text(file, MAX_BYTES));
    }
    return Collections.unmodifiableMap(templates);
  }

  /** The spelling of {@code bos_token} and its like, or null. */
  String token(String key) {
    JsonNode node = json.path(key);
    return node.isObject() ? node.path("content").textValue() : node.textValue();
  }

  /** All of them that are there. */
  Map<String, String> tokens() {
    Map<String, String> tokens = new LinkedHashMap<>();
    json.fieldNames()
        .forEachRemaining(key -> {
          if (key.endsWith("_token") && token(key) != null) {
            tokens.put(key, token(key));
          }
        });
    return tokens;
  }
}
