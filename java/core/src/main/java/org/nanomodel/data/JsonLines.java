package org.nanomodel.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.NanoModelException;

/**
 * A .jsonl file: a line is {"text": ...}, {"input_ids": [...]}, or an array of ids; all lines of
 * one kind.
 *
 * @param texts null when the lines hold ids
 * @param ids null when the lines hold text
 */
record JsonLines(List<String> texts, List<int[]> ids) {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  static JsonLines read(Path path) throws IOException {
    List<String> texts = new ArrayList<>();
    List<int[]> ids = new ArrayList<>();
    try (BufferedReader reader = Files.newBufferedReader(path)) {
      int number = 0;
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        number++;
        if (!line.isBlank()) {
          add(line, path + ":" + number, texts, ids);
        }
      }
    }
    if (!texts.isEmpty() && !ids.isEmpty()) {
      throw new NanoModelException(
          "%s: has %d lines of text and %d lines of ids; expected one kind"
              .formatted(path, texts.size(), ids.size()));
    }
    return ids.isEmpty() ? new JsonLines(texts, null) : new JsonLines(null, ids);
  }

  private static void add(String line, String where, List<String> texts, List<int[]> ids) {
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
    } else if (node.has("messages")) {
      throw new NanoModelException(
          where
              + ": 'messages' need the model's chat template, which this version does not render;"
              + " use lines with text or input_ids");
    } else {
      throw new NanoModelException(
          where + ": expected text, input_ids, or an array of ids; got " + summary(node));
    }
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
