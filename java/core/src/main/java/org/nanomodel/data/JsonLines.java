package org.nanomodel.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.nanomodel.NanoModelException;
import org.nanomodel.chat.ChatMessage;

/**
 * A .jsonl file: a line is {"text": ...}, {"messages": [...]}, {"input_ids": [...]}, or an array of
 * ids; all lines of one kind. What the lines do not hold is empty.
 */
record JsonLines(List<String> texts, List<List<ChatMessage>> chats, List<int[]> ids) {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static final TypeReference<Map<String, Object>> FIELDS = new TypeReference<>() {};

  static JsonLines read(Path path) throws IOException {
    var lines = new JsonLines(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    try (BufferedReader reader = Files.newBufferedReader(path)) {
      int number = 0;
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        number++;
        if (!line.isBlank()) {
          lines.add(line, path + ":" + number);
        }
      }
    }
    int kinds =
        (lines.texts.isEmpty() ? 0 : 1)
            + (lines.chats.isEmpty() ? 0 : 1)
            + (lines.ids.isEmpty() ? 0 : 1);
    if (kinds > 1) {
      throw new NanoModelException(
          "%s: has %d lines of text, %d of messages and %d of ids; expected one kind"
              .formatted(path, lines.texts.size(), lines.chats.size(), lines.ids.size()));
    }
    return lines;
  }

  private void add(String line, String where) {
    JsonNode node;
    try {
      node = MAPPER.readTree(line);
    } catch (JsonProcessingException e) {
      throw new NanoModelException(where + ": is not JSON: " + e.getOriginalMessage(), e);
    }
    if (node.path("text").isTextual()) {
      texts.add(node.get("text").textValue());
    } else if (node.isArray() || node.path("input_ids").isArray()) {
      ids.add(ids(node.isArray() ? node : node.get("input_ids"), where));
    } else if (node.path("messages").isArray()) {
      chats.add(messages(node.get("messages"), where));
    } else {
      throw new NanoModelException(
          where + ": expected text, messages, input_ids, or an array of ids; got " + summary(node));
    }
  }

  private static List<ChatMessage> messages(JsonNode array, String where) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode message : array) {
      try {
        messages.add(new ChatMessage(MAPPER.convertValue(message, FIELDS)));
      } catch (IllegalArgumentException | NullPointerException e) {
        throw new NanoModelException(
            "%s: message %d is %s; expected an object with a role"
                .formatted(where, messages.size(), summary(message)),
            e);
      }
    }
    if (messages.isEmpty()) {
      throw new NanoModelException(where + ": messages is empty; expected at least one");
    }
    return messages;
  }

  private static int[] ids(JsonNode array, String where) {
    int[] row = new int[array.size()];
    for (int i = 0; i < row.length; i++) {
      JsonNode id = array.get(i);
      if (!id.isIntegralNumber() || !id.canConvertToInt() || id.intValue() < 0) {
        throw new NanoModelException(
            "%s: id %d is %s; expected a whole number, 0 or more".formatted(where, i, summary(id)));
      }
      row[i] = id.intValue();
    }
    return row;
  }

  private static String summary(JsonNode node) {
    String text = node.toString();
    return text.length() <= 40 ? text : text.substring(0, 40) + "...";
  }
}
