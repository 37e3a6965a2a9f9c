package org.nanomodel.json;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.nanomodel.BadModelException;

/**
 * The small JSON files of a checkpoint. They come from strangers, so size, depth and duplicate keys
 * are limited before anything is believed; numbers keep the digits they were written with, so that
 * a copied config.json keeps its values.
 */
public final class JsonFile {
  /** Far above any config.json seen; tokenizers are not read here. */
  private static final long MAX_BYTES = 16L << 20;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(64).build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          // Python writes Infinity and NaN, and reads them back.
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
          .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES)
          .build();

  private static final DefaultPrettyPrinter PRINTER = printer();

  private JsonFile() {}

  /** The object in a file; anything else is a {@link BadModelException}. */
  public static ObjectNode read(Path file) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new BadModelException(
            file
                + ": expected a JSON file, got "
                + (Files.exists(file) ? "something else" : "none"));
      }
      if (Files.size(file) > MAX_BYTES) {
        throw new BadModelException(
            file + ": " + Files.size(file) + " bytes, expected at most " + MAX_BYTES);
      }
      return parse(Files.readAllBytes(file), file.toString());
    } catch (IOException e) {
      throw new BadModelException(file + ": cannot be read: " + e, e);
    }
  }

  /** As {@link #read}, or empty when there is no such file. */
  public static Optional<ObjectNode> readIfPresent(Path file) {
    return Files.exists(file) ? Optional.of(read(file)) : Optional.empty();
  }

  /** The object in {@code bytes}; {@code where} names them in errors. */
  public static ObjectNode parse(byte[] bytes, String where) {
    if (bytes.length >= 3 && bytes[0] == (byte) 0xef && bytes[1] == (byte) 0xbb) {
      throw new BadModelException(
          where + ": starts with a byte order mark, expected plain UTF-8 JSON");
    }
    try {
      if (MAPPER.readTree(bytes) instanceof ObjectNode object) {
        return object;
      }
      throw new BadModelException(where + ": expected a JSON object");
    } catch (JsonProcessingException e) {
      var at = e.getLocation();
      throw new BadModelException(
          where
              + (at == null ? "" : " line " + at.getLineNr() + " column " + at.getColumnNr())
              + ": not valid JSON: "
              + oneLine(e.getOriginalMessage()),
          e);
    } catch (IOException e) {
      throw new BadModelException(where + ": not valid JSON: " + oneLine(e.getMessage()), e);
    } catch (ArithmeticException | NumberFormatException e) { // of BigDecimal
      throw new BadModelException(where + ": holds a number with an exponent beyond 2^31", e);
    }
  }

  public static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /**
   * Two spaces of indentation and no newline at the end, as the ecosystem's tools write these
   * files.
   */
  public static String print(JsonNode node) {
    try {
      return MAPPER.writer(PRINTER).writeValueAsString(node);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  private static String oneLine(String message) {
    return message == null ? "" : Escaped.line(message.lines().findFirst().orElse(""));
  }

  private static DefaultPrettyPrinter printer() {
    var indent = new DefaultIndenter("  ", "\n");
    var separators =
        Separators.createDefaultInstance()
            .withObjectFieldValueSpacing(Separators.Spacing.AFTER)
            .withObjectEmptySeparator("")
            .withArrayEmptySeparator("");
    var printer = new DefaultPrettyPrinter(separators);
    printer.indentObjectsWith(indent);
    printer.indentArraysWith(indent);
    return printer;
  }
}
