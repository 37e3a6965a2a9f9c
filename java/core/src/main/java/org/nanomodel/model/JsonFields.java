package org.nanomodel.model;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.BadModelException;

/**
 * The fields of a JSON object from a stranger, read by type and range; an error names the file and
 * the field.
 *
 * @param keys what the object calls a field that is asked for by another name
 */
record JsonFields(String file, String prefix, JsonNode node, Map<String, String> keys) {
  private static final int MAX_DEPTH = 64;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          // Python writes Infinity and NaN into fields that other architectures have.
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS.mappedFeature())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  static JsonFields parse(String file, byte[] json) {
    if (json.length >= 3
        && json[0] == (byte) 0xEF
        && json[1] == (byte) 0xBB
        && json[2] == (byte) 0xBF) {
      throw new BadModelException(
          file + ": begins with a byte order mark, expected plain UTF-8 JSON");
    }
    try {
      JsonNode node = MAPPER.readTree(json);
      if (!node.isObject()) {
        throw new BadModelException(file + ": expected a JSON object, got " + kind(node));
      }
      return new JsonFields(file, "", node, Map.of());
    } catch (JsonProcessingException e) {
      String why = String.valueOf(e.getOriginalMessage()).lines().findFirst().orElse("");
      String at = e.getLocation() == null ? "" : " line " + e.getLocation().getLineNr();
      throw new BadModelException(file + at + ": not valid JSON: " + cut(why), e);
    } catch (IOException e) {
      throw new BadModelException(
          file + ": not valid JSON: " + cut(String.valueOf(e.getMessage())), e);
    }
  }

  /** The same object, some of whose fields have other names. */
  JsonFields calling(Map<String, String> names) {
    return new JsonFields(file, prefix, node, names);
  }

  private String key(String name) {
    return keys.getOrDefault(name, name);
  }

  /** The value of a field, null where there is none. */
  JsonNode get(String name) {
    return node.get(key(name));
  }

  boolean has(String name) {
    return node.hasNonNull(key(name));
  }

  /** The object under a name; null and {} count as absent, as in Python's {@code or}. */
  Optional<JsonFields> object(String name) {
    JsonNode v = get(name);
    if (v == null || v.isNull()) {
      return Optional.empty();
    }
    if (!v.isObject()) {
      throw bad(name, v, "an object");
    }
    return v.isEmpty()
        ? Optional.empty()
        : Optional.of(new JsonFields(file, prefix + name + ".", v, Map.of()));
  }

  int integer(String name, int min, int max) {
    JsonNode v = get(name);
    if (v == null
        || !v.isIntegralNumber()
        || !v.canConvertToInt()
        || v.intValue() < min
        || v.intValue() > max) {
      throw bad(name, v, "a whole number from " + min + " to " + max);
    }
    return v.intValue();
  }

  int integer(String name, int min, int max, int otherwise) {
    return has(name) ? integer(name, min, max) : otherwise;
  }

  /** A finite number above 0. */
  double positive(String name) {
    JsonNode v = get(name);
    if (v == null
        || !v.isNumber()
        || !(v.doubleValue() > 0)
        || Double.isInfinite(v.doubleValue())) {
      throw bad(name, v, "a finite number above 0");
    }
    return v.doubleValue();
  }

  double positive(String name, double otherwise) {
    return has(name) ? positive(name) : otherwise;
  }

  boolean bool(String name, boolean otherwise) {
    JsonNode v = get(name);
    if (v == null || v.isNull()) {
      return otherwise;
    }
    if (!v.isBoolean()) {
      throw bad(name, v, "true or false");
    }
    return v.booleanValue();
  }

  Optional<String> string(String name) {
    JsonNode v = get(name);
    if (v == null || v.isNull()) {
      return Optional.empty();
    }
    if (!v.isTextual() || v.textValue().isEmpty()) {
      throw bad(name, v, "a text");
    }
    return Optional.of(v.textValue());
  }

  List<String> strings(String name) {
    var out = new ArrayList<String>();
    if (has(name)) {
      for (JsonNode v : array(name)) {
        if (!v.isTextual()) {
          throw bad(name, v, "a list of texts");
        }
        out.add(v.textValue());
      }
    }
    return out;
  }

  /** Ids given as one number or a list of them. */
  List<Integer> ids(String name, int limit) {
    JsonNode v = get(name);
    if (v == null || v.isNull()) {
      return List.of();
    }
    var out = new ArrayList<Integer>();
    for (JsonNode id : v.isArray() ? v : List.of(v)) {
      if (!id.isIntegralNumber()
          || !id.canConvertToInt()
          || id.intValue() < 0
          || id.intValue() >= limit) {
        throw bad(name, id, "token ids from 0 to " + (limit - 1));
      }
      out.add(id.intValue());
    }
    return List.copyOf(out);
  }

  private JsonNode array(String name) {
    JsonNode v = get(name);
    if (!v.isArray()) {
      throw bad(name, v, "a list");
    }
    return v;
  }

  BadModelException bad(String name, JsonNode got, String expected) {
    return bad(name, (got == null ? "missing" : got.toString()), expected);
  }

  BadModelException bad(String name, String got, String expected) {
    return new BadModelException(
        file + ": " + prefix + key(name) + " is " + cut(got) + ", expected " + expected);
  }

  private static String kind(JsonNode node) {
    return node.isMissingNode()
        ? "nothing"
        : node.getNodeType().name().toLowerCase(java.util.Locale.ROOT);
  }

  /** One line of printable characters: what a stranger's file says goes into logs. */
  static String cut(String text) {
    String line =
        text.codePoints()
            .limit(80)
            .collect(
                StringBuilder::new,
                (b, c) -> b.appendCodePoint(Character.isISOControl(c) ? '?' : c),
                StringBuilder::append)
            .toString();
    return text.length() > 80 ? line + "..." : line;
  }
}
