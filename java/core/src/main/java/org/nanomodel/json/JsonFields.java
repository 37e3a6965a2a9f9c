package org.nanomodel.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.BadModelException;

/**
 * The fields of a JSON object from a stranger, read by type and range; an error names the file and
 * the field. null counts as absent.
 *
 * @param file in errors
 * @param prefix of the names in errors, such as {@code rope_scaling.}
 * @param keys what the object calls a field that is asked for by another name
 */
public record JsonFields(String file, String prefix, JsonNode node, Map<String, String> keys) {
  /** The fields of a whole file. */
  public static JsonFields of(String file, JsonNode object) {
    return new JsonFields(file, "", object, Map.of());
  }

  /** The fields of a part of a file; {@code path} leads to it. */
  public static JsonFields of(String file, String path, JsonNode object) {
    return new JsonFields(file, path + ".", object, Map.of());
  }

  public static JsonFields parse(String file, byte[] json) {
    return of(file, JsonFile.parse(json, file));
  }

  /** The same object, some of whose fields have other names. */
  public JsonFields calling(Map<String, String> names) {
    return new JsonFields(file, prefix, node, names);
  }

  private String key(String name) {
    return keys.getOrDefault(name, name);
  }

  /** The value of a field, null where there is none. */
  public JsonNode get(String name) {
    return node.get(key(name));
  }

  public boolean has(String name) {
    return node.hasNonNull(key(name));
  }

  /** The first of several names for the same that the object has. */
  public Optional<String> first(String... names) {
    return List.of(names).stream().filter(this::has).findFirst();
  }

  /** The object under a name; {} counts as absent too, as in Python's {@code or}. */
  public Optional<JsonFields> object(String name) {
    if (!has(name)) {
      return Optional.empty();
    }
    JsonNode v = get(name);
    if (!v.isObject()) {
      throw bad(name, v, "an object");
    }
    return v.isEmpty() ? Optional.empty() : Optional.of(of(file, prefix + name, v));
  }

  public int integer(String name, int min, int max) {
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

  public int integer(String name, int min, int max, int otherwise) {
    return has(name) ? integer(name, min, max) : otherwise;
  }

  /** A finite number above 0. */
  public double positive(String name) {
    JsonNode v = get(name);
    if (v == null
        || !v.isNumber()
        || !(v.doubleValue() > 0)
        || Double.isInfinite(v.doubleValue())) {
      throw bad(name, v, "a finite number above 0");
    }
    return v.doubleValue();
  }

  public double positive(String name, double otherwise) {
    return has(name) ? positive(name) : otherwise;
  }

  public Optional<Boolean> bool(String name) {
    if (!has(name)) {
      return Optional.empty();
    }
    JsonNode v = get(name);
    if (!v.isBoolean()) {
      throw bad(name, v, "true or false");
    }
    return Optional.of(v.booleanValue());
  }

  public boolean bool(String name, boolean otherwise) {
    return bool(name).orElse(otherwise);
  }

  /** The text under the first of the names that the object has. */
  public Optional<String> text(String... names) {
    return first(names)
        .map(name -> {
          JsonNode v = get(name);
          if (!v.isTextual()) {
            throw bad(name, v, "a text");
          }
          return v.textValue();
        });
  }

  public List<String> texts(String name) {
    var out = new ArrayList<String>();
    if (has(name)) {
      if (!get(name).isArray()) {
        throw bad(name, get(name), "a list");
      }
      for (JsonNode v : get(name)) {
        if (!v.isTextual()) {
          throw bad(name, v, "a list of texts");
        }
        out.add(v.textValue());
      }
    }
    return out;
  }

  /** Ids given as one number or a list of them. */
  public List<Integer> ids(String name, int limit) {
    if (!has(name)) {
      return List.of();
    }
    JsonNode v = get(name);
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

  public BadModelException bad(String name, JsonNode got, String expected) {
    return bad(name, got == null ? "missing" : got.toString(), expected);
  }

  public BadModelException bad(String name, String got, String expected) {
    return new BadModelException(
        file + ": " + prefix + key(name) + " is " + Escaped.line(got) + ", expected " + expected);
  }
}
