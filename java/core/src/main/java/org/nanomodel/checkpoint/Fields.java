package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Optional;
import org.nanomodel.BadModelException;

/**
 * Typed reads of the fields of a JSON object; {@code where} and the field's name go into the error.
 */
record Fields(String where, JsonNode node) {
  /** The first of {@code names} that is there and not null. */
  private Optional<String> present(String... names) {
    for (String name : names) {
      if (node.hasNonNull(name)) {
        return Optional.of(name);
      }
    }
    return Optional.empty();
  }

  boolean has(String... names) {
    return present(names).isPresent();
  }

  Optional<Long> integer(String... names) {
    return present(names)
        .map(name -> {
          JsonNode value = node.get(name);
          if (!value.isIntegralNumber() || !value.canConvertToLong()) {
            throw bad(name, value, "an integer");
          }
          return value.longValue();
        });
  }

  Optional<Boolean> bool(String... names) {
    return present(names)
        .map(name -> {
          JsonNode value = node.get(name);
          if (!value.isBoolean()) {
            throw bad(name, value, "true or false");
          }
          return value.booleanValue();
        });
  }

  Optional<String> text(String... names) {
    return present(names)
        .map(name -> {
          JsonNode value = node.get(name);
          if (!value.isTextual()) {
            throw bad(name, value, "a string");
          }
          return value.textValue();
        });
  }

  Optional<JsonNode> object(String name) {
    return present(name)
        .map(n -> {
          JsonNode value = node.get(n);
          if (!value.isObject()) {
            throw bad(n, value, "an object");
          }
          return value;
        });
  }

  /** Bits of a code: 2..8. */
  Optional<Integer> bits(String... names) {
    return integer(names)
        .map(b -> {
          if (b < 2 || b > 8) {
            throw new BadModelException(where + ": bits " + b + ", expected 2..8");
          }
          return b.intValue();
        });
  }

  /** Input columns that share a scale: positive, or -1 for the whole row. */
  Optional<Long> groupSize(String... names) {
    return integer(names)
        .map(g -> {
          if (g != -1 && (g < 1 || g > Integer.MAX_VALUE)) {
            throw new BadModelException(
                where + ": group_size " + g + ", expected -1 (whole row) or a positive number");
          }
          return g;
        });
  }

  BadModelException bad(String field, JsonNode value, String expected) {
    String got = value.toString();
    return new BadModelException(
        where
            + ": field "
            + field
            + " is "
            + (got.length() > 60 ? got.substring(0, 60) + "..." : got)
            + ", expected "
            + expected);
  }
}
