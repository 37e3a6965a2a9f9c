package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quote;
import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * {@code model.safetensors.index.json}: which file holds which tensor. {@code total_size} is
 * written but not trusted: published indexes count tied weights in several ways.
 */
final class ShardIndex {
  private static final String WEIGHT_MAP = "weight_map";

  private final Path file;
  private final JsonParser parser;
  private final Map<String, String> shardNames = new HashMap<>();

  private ShardIndex(Path file, JsonParser parser) {
    this.file = file;
    this.parser = parser;
  }

  /** Tensor name to file name, in the order of the index; file names are plain names. */
  static Map<String, String> read(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new SafetensorsException(file, "file", "a folder, device or pipe", "a file");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      if (size > Rules.MAX_HEADER_BYTES) {
        throw new SafetensorsException(
            file, "file length", size + " bytes", "at most " + Rules.MAX_HEADER_BYTES);
      }
      var text = new JsonText(channel, file, "index", 0, size);
      try (JsonParser parser = text.parser()) {
        Map<String, String> files = new ShardIndex(file, parser).parse();
        text.expectEnd(parser);
        return files;
      } catch (JsonProcessingException e) {
        throw text.bad(e);
      }
    }
  }

  private Map<String, String> parse() throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw bad("index", String.valueOf(parser.currentToken()), "an object");
    }
    Map<String, String> files = null;
    for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
      JsonToken value = parser.nextToken();
      if (!key.equals(WEIGHT_MAP)) {
        parser.skipChildren();
      } else if (value != JsonToken.START_OBJECT) {
        throw bad(WEIGHT_MAP, value.toString(), "an object");
      } else if (files != null) {
        throw bad(WEIGHT_MAP, "a second one", "unique keys");
      } else {
        files = parseWeightMap();
      }
    }
    if (files == null || files.isEmpty()) {
      throw bad(WEIGHT_MAP, files == null ? "none" : "an empty one", "tensor names and files");
    }
    return files;
  }

  private Map<String, String> parseWeightMap() throws IOException {
    Map<String, String> files = new LinkedHashMap<>();
    for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
      Rules.checkName(file, name);
      if (files.size() == Rules.MAX_TENSORS) {
        throw bad(WEIGHT_MAP, "more than " + Rules.MAX_TENSORS + " tensors", "at most that");
      }
      String field = WEIGHT_MAP + " of " + quoteTensor(name);
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw bad(field, String.valueOf(parser.currentToken()), "a file name");
      }
      String shard = shardNames.computeIfAbsent(parser.getText(), text -> text);
      checkShardName(field, shard);
      if (files.put(name, shard) != null) {
        throw bad(field, "a second one", "unique names");
      }
    }
    return files;
  }

  private void checkShardName(String field, String shard) {
    boolean plain =
        !shard.isEmpty()
            && shard.length() <= 255
            && shard
                .chars()
                .noneMatch(c -> c == '/' || c == '\\' || c == ':' || Character.isISOControl(c))
            && !shard.startsWith(".");
    if (!plain) {
      throw bad(field, quote(shard), "a plain name of a file in the same folder");
    }
  }

  private SafetensorsException bad(String field, String got, String expected) {
    return new SafetensorsException(file, field, got, expected);
  }

  /** The index as text, laid out like Python's {@code json.dumps(indent=2, sort_keys=True)}. */
  static byte[] json(long totalBytes, Map<String, String> files) {
    var out = new ByteArrayOutputStream();
    var printer =
        new DefaultPrettyPrinter()
            .withSeparators(
                Separators.createDefaultInstance()
                    .withObjectFieldValueSpacing(Separators.Spacing.AFTER));
    try (JsonGenerator json = Layout.FACTORY.createGenerator(out)) {
      json.setPrettyPrinter(printer);
      json.writeStartObject();
      json.writeObjectFieldStart("metadata");
      json.writeNumberField("total_size", totalBytes);
      json.writeEndObject();
      json.writeObjectFieldStart(WEIGHT_MAP);
      for (var entry : new TreeMap<>(files).entrySet()) {
        json.writeStringField(entry.getKey(), entry.getValue());
      }
      json.writeEndObject();
      json.writeEndObject();
      json.writeRaw('\n');
    } catch (IOException e) {
      throw new AssertionError("memory does not fail to be written", e);
    }
    return out.toByteArray();
  }
}
